// SPDX-License-Identifier: GPL-2.0-only
/*
 * check: kernel, module, KVM, huge pages, memory limits.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "check.h"
#include "ctl.h"

#ifndef KVM_CAP_DIRTY_LOG_RING_ACQ_REL
#define KVM_CAP_DIRTY_LOG_RING_ACQ_REL 223
#endif

#define GOOD_RING_ENTRIES 4096

void check_kernel(struct check_list *list)
{
	struct utsname uts;
	int major = 0, minor = 0;

	if (uname(&uts))
		return;
	if (strcmp(uts.machine, "x86_64"))
		check_add(list, CHECK_FAIL, "architecture", "use an x86-64 host",
			  "%s; kvm_ferry is built for x86_64 only", uts.machine);
	if (sscanf(uts.release, "%d.%d", &major, &minor) != 2)
		check_add(list, CHECK_WARN, "kernel", "6.1 and later are known to work",
			  "%s has a version that is not understood", uts.release);
	else if (major < 6 || (major == 6 && minor < 1))
		check_add(list, CHECK_FAIL, "kernel", "install a kernel of 6.1 or later",
			  "%s is older than 6.1", uts.release);
	else
		check_add(list, CHECK_OK, "kernel", NULL, "%s", uts.release);
}

/* modules.dep names it. */
bool module_installed(const char *name)
{
	struct utsname uts;
	char path[256], file[64], *line = NULL;
	bool found = false;
	size_t room = 0;
	FILE *f;

	if (uname(&uts))
		return false;
	snprintf(path, sizeof(path), "/lib/modules/%s/modules.dep", uts.release);
	snprintf(file, sizeof(file), "/%s.ko", name);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && getline(&line, &room, f) > 0)
		found = strstr(line, file);
	free(line);
	fclose(f);
	return found;
}

static void check_device(struct check_list *list)
{
	struct kvm_ferry_info info;
	struct ferry_device *dev;

	if (ferry_device_open(&dev)) {
		check_add(list, CHECK_FAIL, "device", NULL, "%s", ferry_error());
		return;
	}
	memset(&info, 0, sizeof(info));
	if (ferry_device_info(dev, &info, sizeof(info)))
		check_add(list, CHECK_FAIL, "device", "install the module and ferryctl from the "
			  "same release", "%s", ferry_error());
	else
		check_add(list, CHECK_OK, "device", NULL,
			  "%s: module %.*s, wire protocol %u to %u, transports%s%s%s%s, up to %u "
			  "data channels", KVM_FERRY_DEVICE, KVM_FERRY_NAME_LEN,
			  (const char *)info.out_release, info.out_wire_version_min,
			  info.out_wire_version,
			  info.out_transports & 1 << KVM_FERRY_TRANSPORT_TCP ? " tcp" : "",
			  info.out_transports & 1 << KVM_FERRY_TRANSPORT_LOOP ? " loop" : "",
			  info.out_transports & 1 << KVM_FERRY_TRANSPORT_RDMA ? " rdma" : "",
			  info.out_transports & 1 << KVM_FERRY_TRANSPORT_OWN ? " own" : "",
			  info.out_max_data_channels);
	ferry_device_close(dev);
}

/* Secure Boot locks the kernel down, and a parameter can make it as strict. */
static bool wants_signatures(void)
{
	char line[64];

	if (read_line("/sys/module/module/parameters/sig_enforce", line, sizeof(line)) &&
	    line[0] == 'Y')
		return true;
	return read_line("/sys/kernel/security/lockdown", line, sizeof(line)) &&
	       !strstr(line, "[none]");
}

void check_module(struct check_list *list)
{
	if (!access("/sys/module/kvm_ferry", F_OK)) {
		check_add(list, CHECK_OK, "module", NULL, "kvm_ferry is loaded");
		check_device(list);
	} else if (module_installed("kvm_ferry")) {
		check_add(list, CHECK_WARN, "module", wants_signatures() ? "run 'modprobe kvm_ferry'. "
			  "This kernel loads signed modules only (Secure Boot): if it refuses, have "
			  "the firmware trust the key that DKMS signs with: 'mokutil --import "
			  "/var/lib/dkms/mok.pub', then reboot and confirm it" :
			  "run 'modprobe kvm_ferry'; to load it at "
			  "every boot: echo kvm_ferry > /etc/modules-load.d/kvm_ferry.conf",
			  "kvm_ferry is installed for this kernel but not loaded");
	} else {
		check_add(list, CHECK_FAIL, "module", "build and install it for the running "
			  "kernel, with this kernel's headers installed: the package "
			  "kvm-ferry-dkms, or 'make dkms-install' (or 'make install') in "
			  "kvm-ferry's source; then 'modprobe kvm_ferry'",
			  "kvm_ferry is neither loaded nor installed for this kernel");
	}
}

static const char *kvm_advice(void)
{
	char flags[8192];
	bool vmx = false, svm = false;
	FILE *f = fopen("/proc/cpuinfo", "re");

	while (f && fgets(flags, sizeof(flags), f)) {
		if (strncmp(flags, "flags", 5))
			continue;
		vmx = strstr(flags, " vmx");
		svm = strstr(flags, " svm");
		break;
	}
	if (f)
		fclose(f);
	if (vmx)
		return "run 'modprobe kvm_intel'";
	if (svm)
		return "run 'modprobe kvm_amd'";
	return "enable virtualization in the firmware's set-up (on a virtual machine: nested "
	       "virtualization in its hypervisor)";
}

static void check_dirty_ring(struct check_list *list, int kvm)
{
	int bytes = ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_DIRTY_LOG_RING);
	unsigned int entries;

	if (bytes <= 0)
		bytes = ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_DIRTY_LOG_RING_ACQ_REL);
	if (bytes <= 0) {
		check_add(list, CHECK_FAIL, "dirty-ring", "use a kernel whose KVM has "
			  "CONFIG_HAVE_KVM_DIRTY_RING (x86-64, 5.11 or later)",
			  "this KVM has no dirty rings");
		return;
	}
	entries = (unsigned int)bytes / sizeof(struct kvm_dirty_gfn);
	check_add(list, entries < GOOD_RING_ENTRIES ? CHECK_WARN : CHECK_OK, "dirty-ring",
		  entries < GOOD_RING_ENTRIES ? "small rings slow a guest down that writes much" :
		  NULL, "up to %u entries a vCPU (%d KiB)", entries, bytes / 1024);
}

void check_kvm(struct check_list *list)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int version;

	if (kvm < 0) {
		if (errno == EACCES || errno == EPERM)
			check_add(list, CHECK_FAIL, "kvm", "run as root, or add this user to the "
				  "group that owns /dev/kvm", "no right to open /dev/kvm");
		else
			check_add(list, CHECK_FAIL, "kvm", kvm_advice(), "cannot open /dev/kvm: %s",
				  strerror(errno));
		return;
	}
	version = ioctl(kvm, KVM_GET_API_VERSION, 0);
	if (version == KVM_API_VERSION)
		check_add(list, CHECK_OK, "kvm", NULL, "/dev/kvm, API version %d", version);
	else
		check_add(list, CHECK_FAIL, "kvm", "is /dev/kvm the kernel's own?",
			  "/dev/kvm answers with API version %d instead of %d", version,
			  KVM_API_VERSION);
	check_dirty_ring(list, kvm);
	close(kvm);
}

static void check_parameter(struct check_list *list, const char *name, const char *good,
			    const char *advice, const char *meaning)
{
	char path[128], value[32];

	snprintf(path, sizeof(path), "/sys/module/kvm/parameters/%s", name);
	/* Not there: an older or newer KVM without the choice. */
	if (!read_line(path, value, sizeof(value)))
		return;
	if (strchr(good, value[0]))
		check_add(list, CHECK_OK, name, NULL, "%s", value);
	else
		check_add(list, CHECK_WARN, name, advice, "%s: %s", value, meaning);
}

static void check_thp(struct check_list *list)
{
	static const char path[] = "/sys/kernel/mm/transparent_hugepage/enabled";
	char value[64];

	if (!read_line(path, value, sizeof(value)))
		check_add(list, CHECK_WARN, "transparent-huge", "use hugetlb memory for guests, or "
			  "a kernel with transparent huge pages",
			  "this kernel has no transparent huge pages");
	else if (strstr(value, "[never]"))
		check_add(list, CHECK_WARN, "transparent-huge", "echo madvise > "
			  "/sys/kernel/mm/transparent_hugepage/enabled, or use hugetlb memory for "
			  "guests", "%s: guest memory is in small pages, which costs the guest "
			  "speed and the migration time", value);
	else
		check_add(list, CHECK_OK, "transparent-huge", NULL, "%s", value);
}

void check_hugepages(struct check_list *list)
{
	check_parameter(list, "tdp_mmu", "Y1", "load kvm with tdp_mmu=1",
			"huge pages are split under one lock for all vCPUs while the guest is "
			"moved");
	check_parameter(list, "eager_page_split", "Y1", "echo Y > "
			"/sys/module/kvm/parameters/eager_page_split",
			"huge pages are split by the vCPUs at their first write, which slows the "
			"guest down at the start of a migration");
	check_parameter(list, "nx_huge_pages", "Nn0", "nothing if this processor needs it (see "
			"/sys/devices/system/cpu/vulnerabilities/itlb_multihit); else load kvm "
			"with nx_huge_pages=off",
			"pages with code are kept small, and made huge again only slowly");
	check_thp(list);
}
