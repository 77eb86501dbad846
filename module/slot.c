// SPDX-License-Identifier: GPL-2.0-only
/*
 * Slot maps: which KVM memslot lies where. They change between harvests only
 * (map_lock), and only after a round that began later than the call: the VMM
 * has deleted the memslot in KVM by then, so its last entries are in.
 */
#include <linux/slab.h>

#include "session.h"

static int check_slot(struct ferry_session *s, unsigned int cmd, const struct kvm_ferry_slot *arg,
		      struct ferry_slot_map *map, struct ferry_reason *why)
{
	if (s->dirty_source != KVM_FERRY_DIRTY_RING)
		return ferry_because(why, -EOPNOTSUPP, "the session's dirty source is not the ring");
	if (cmd == KVM_FERRY_SLOT_REMOVE) {
		if (arg->region_id || arg->offset || arg->length)
			return ferry_because(why, -EINVAL, "region_id, offset and length must be 0 to remove a slot");
		return 0;
	}
	return ferry_region_range(s, arg->region_id, arg->offset, arg->length, &map->region,
				  &map->first, &map->nr_pages, why);
}

static int slot_replace(struct ferry_session *s, unsigned int cmd, u32 slot,
			struct ferry_slot_map *map, struct ferry_reason *why)
{
	struct ferry_dirty *d = &s->dirty;
	struct ferry_slot_map *old;
	int ret = 0;

	lockdep_assert_held(&d->map_lock);
	old = xa_load(&d->slots, slot);
	if (cmd == KVM_FERRY_SLOT_ADD && old)
		return ferry_because(why, -EEXIST, "slot 0x%x is mapped already: move or remove it", slot);
	if (cmd != KVM_FERRY_SLOT_ADD && !old)
		return ferry_because(why, -ENOENT, "slot 0x%x is not mapped", slot);
	if (cmd == KVM_FERRY_SLOT_ADD && d->nr_slots == KVM_FERRY_MAX_SLOTS)
		return ferry_because(why, -ENOSPC, "a session has at most %u slot maps", KVM_FERRY_MAX_SLOTS);
	if (cmd == KVM_FERRY_SLOT_REMOVE) {
		xa_erase(&d->slots, slot);
		d->nr_slots--;
	} else {
		ret = xa_err(xa_store(&d->slots, slot, map, GFP_KERNEL_ACCOUNT));
		if (ret)
			return ret;
		d->nr_slots += !old;
	}
	kfree(old);
	return 0;
}

int ferry_slot_change(struct ferry_session *s, unsigned int cmd, struct kvm_ferry_slot *arg,
		      struct ferry_reason *why)
{
	struct ferry_slot_map *map = NULL, checked = {};
	bool live;
	int ret;

	mutex_lock(&s->setup_lock);
	ret = check_slot(s, cmd, arg, &checked, why);
	mutex_unlock(&s->setup_lock);
	if (ret)
		return ret;
	if (cmd != KVM_FERRY_SLOT_REMOVE) {
		map = kmemdup(&checked, sizeof(checked), GFP_KERNEL_ACCOUNT);
		if (!map)
			return -ENOMEM;
	}
	live = ferry_session_state(s) != KVM_FERRY_STATE_SETUP;
	if (ferry_session_state(s) >= KVM_FERRY_STATE_FINAL && !ferry_session_ended(s)) {
		kfree(map);
		return ferry_because(why, -EBUSY, "slots can be changed before FINAL only");
	}
	if (live && cmd != KVM_FERRY_SLOT_ADD)
		ret = ferry_dirty_sync(s, FERRY_REARM_ALL, NULL, why);
	if (!ret && ferry_session_ended(s))
		ret = ferry_because(why, -ESHUTDOWN, "the session has ended");
	if (!ret) {
		mutex_lock(&s->dirty.map_lock);
		ret = slot_replace(s, cmd, arg->slot, map, why);
		mutex_unlock(&s->dirty.map_lock);
	}
	if (ret) {
		kfree(map);
		return ret;
	}
	if (live && cmd != KVM_FERRY_SLOT_REMOVE)
		ferry_dirty_publish(s, checked.region, checked.first, checked.nr_pages);
	return 0;
}
