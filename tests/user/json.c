// SPDX-License-Identifier: GPL-2.0-only
/*
 * The session object, there and back, and numbers for people.
 */
#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "../../userspace/ferryctl/print.h"
#include "tap.h"

static void there_and_back(void)
{
	struct session_view view, back;
	struct json_object *obj, *item, *again;
	const struct stats_field *f;
	uint64_t *words = (uint64_t *)(void *)&view.stats;
	size_t i, missing = 0, covered = 0;

	memset(&view, 0, sizeof(view));
	/* Every number different, some beyond what a signed one holds. */
	for (i = 0; i < sizeof(view.stats) / 8; i++)
		words[i] = 0xf000000000000001ULL + i * 0x100000001ULL;
	memset(view.stats.out_name, 0, sizeof(view.stats.out_name));
	strcpy((char *)view.stats.out_name, "a \"guest\"");
	strcpy(view.reason, "a sentence");
	obj = session_to_json(&view);
	for (f = stats_fields; f < stats_fields + nr_stats_fields; f++) {
		missing += !json_object_object_get_ex(obj, f->name, &item);
		covered += f->size;
	}
	ok(!missing, "every field is there by its name");
	/* All but size, flags and session_id of the request. */
	ok(covered == sizeof(view.stats) - 16, "no field of the uAPI is left out: %zu of %zu bytes",
	   covered, sizeof(view.stats) - 16);
	again = json_tokener_parse(json_object_to_json_string(obj));
	session_from_json(again, &back);
	for (i = 0, missing = 0; i < nr_stats_fields; i++)
		missing += memcmp((char *)&view.stats + stats_fields[i].offset,
				  (char *)&back.stats + stats_fields[i].offset,
				  stats_fields[i].size) != 0;
	ok(!missing && !strcmp(back.reason, view.reason), "all of it survives text");
	json_object_put(obj);
	json_object_put(again);

	view.stats.out_expected_downtime_ns = UINT64_MAX;
	view.stats.out_digest = UINT64_MAX;
	obj = session_to_json(&view);
	ok(json_object_object_get_ex(obj, "expected_downtime_ns", &item) && !item,
	   "what is not known is null");
	ok(json_object_object_get_ex(obj, "digest", &item) &&
	   json_object_get_uint64(item) == UINT64_MAX, "a digest of all ones is a digest");
	session_from_json(obj, &back);
	ok(back.stats.out_expected_downtime_ns == UINT64_MAX, "and comes back as not known");
	json_object_put(obj);
}

/* What a VMM sends is not trusted to have the right types. */
static void odd_input(void)
{
	static const char *const texts[] = {
		"{}", "{\"state\":\"live\",\"name\":5,\"ram_total\":-1,\"reason\":null}",
		"{\"name\":null,\"error\":[1],\"reason\":{\"a\":1},\"ram_total\":1.5}",
		"{\"ram_total\":true,\"role\":{}}",
	};
	struct session_view view;
	struct json_object *obj;
	char text[1000];
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		obj = json_tokener_parse(texts[i]);
		session_from_json(obj, &view);
		ok(!view.stats.out_state && !view.stats.out_error && !view.stats.out_role &&
		   (!view.stats.out_ram_total || view.stats.out_ram_total == UINT64_MAX),
		   "wrong types are passed over: %s", texts[i]);
		json_object_put(obj);
	}
	snprintf(text, sizeof(text), "{\"name\":\"%0400d\",\"reason\":\"%0400d\"}", 1, 1);
	obj = json_tokener_parse(text);
	session_from_json(obj, &view);
	ok(strlen((char *)view.stats.out_name) == KVM_FERRY_NAME_LEN - 1 &&
	   strlen(view.reason) == KVM_FERRY_REASON_LEN - 1, "long texts are cut");
	json_object_put(obj);
}

static void for_people(void)
{
	static const struct {
		const char *(*show)(uint64_t n);
		uint64_t n;
		const char *want;
	} rows[] = {
		{ human_bytes, 0, "0 B" }, { human_bytes, 1023, "1023 B" },
		{ human_bytes, 1024, "1.00 KiB" }, { human_bytes, 1048575, "1.00 MiB" },
		{ human_bytes, 1536 << 10, "1.50 MiB" }, { human_bytes, 512 << 20, "512 MiB" },
		{ human_bytes, UINT64_MAX, "16.0 EiB" },
		{ human_rate, 0, "0 bit/s" }, { human_rate, 125000000, "1.00 Gbit/s" },
		{ human_rate, 117625000, "941 Mbit/s" }, { human_rate, 1, "8.00 bit/s" },
		{ human_time, 0, "0 s" }, { human_time, 12300000, "12.3 ms" },
		{ human_time, 999, "999 ns" }, { human_time, 1500, "1.50 us" },
		{ human_time, 999600, "1.00 ms" },
		{ human_time, 90000000000, "90.0 s" }, { human_time, UINT64_MAX, "not known yet" },
		{ human_count, 0, "0" }, { human_count, 999, "999" },
		{ human_count, 1000, "1,000" }, { human_count, 1234567, "1,234,567" },
		{ human_count, UINT64_MAX, "18,446,744,073,709,551,615" },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ok(!strcmp(rows[i].show(rows[i].n), rows[i].want), "%llu reads %s",
		   (unsigned long long)rows[i].n, rows[i].show(rows[i].n));
	ok(*session_error_text(EREMCHG) && *session_error_text(4000) && !*session_error_text(0),
	   "errors of sessions in words");
}

int main(void)
{
	there_and_back();
	odd_input();
	for_people();
	return tap_done();
}
