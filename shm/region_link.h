/*
 * The links in run_dir that lead to regions: `region` is the node's own,
 * `region.prev` the one before it, kept as a black box. Private to shm/.
 */
#ifndef SHM_REGION_LINK_H
#define SHM_REGION_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REGION_SHM_DIR "/dev/shm"

/*
 * Is a live node's region, not of this process, linked in run_dir? Its
 * supervisor's pid, or 0.
 */
int region_link_owner(const char *run_dir);
/*
 * Give the file fd, which has no name, the name shm_name ("/nodelife…") and
 * point run_dir/region at it, the old link becoming region.prev; what
 * region.prev led to is unlinked if it is dead. `region` is never missing in
 * between, and who is killed in between leaves nothing that no link leads to:
 * the next call finds it by region.new. 0 or -errno.
 */
int region_link_swap(const char *run_dir, const char *shm_name, int fd);

/*
 * Start time of a process in clock ticks since the system's boot, 0 if there
 * is none or it is a zombie.
 */
uint64_t process_start(int pid);
/* The system's boot id as text; "" if unreadable. */
void system_boot_id(char *out, size_t size);

#endif
