/*
 * The links in run_dir that lead to regions: `region` is the node's own,
 * `region.prev` the one before it, kept as a black box. Private to shm/.
 */
#ifndef SHM_REGION_LINK_H
#define SHM_REGION_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/region.h"

#define REGION_SHM_DIR "/dev/shm"
#define REGION_PREFIX  "nodelife." /* of every region's name in it */
#define REGION_NAMES   REGION_PREFIX "?*.[0-9]*.????????" /* a pattern */
#define REGION_PAGE    4096

/*
 * All of these are for root, too, though others may own run_dir and the files:
 * a link counts only if it leads to a region's name in /dev/shm, the file is
 * read and not mapped, and its head is checked.
 */

/*
 * The head of the region that run_dir/NAME links, and its control section's
 * wal_failed and its like. Text in it may lack its end. 0 or -errno.
 */
int region_link_peek(int run_dir, const char *name, struct region_head *head,
    struct log_failed *failed);
/*
 * Is a live node's region, not of this process, linked in run_dir? Its
 * supervisor's pid, or 0.
 */
int region_link_owner(int run_dir);
/*
 * Give the file fd, which has no name, the name shm_name ("/nodelife…") and
 * point run_dir/region at it, the old link becoming region.prev; what
 * region.prev led to is unlinked if it is dead; or, keep_prev, what `region`
 * led to. `region` is never missing in
 * between, and who is killed in between leaves nothing that no link leads to:
 * the next call finds it by region.new. 0 or -errno.
 */
int region_link_swap(int run_dir, const char *shm_name, int fd, bool keep_prev);

/* Does a link in run_dir lead to /dev/shm/NAME? */
bool region_link_leads(int run_dir, const char *name);
/* Make run_dir/region again if it is not there. 1 = it was not; or -errno. */
int region_link_restore(int run_dir, const char *shm_name);

/* region.c: does a head say what a region of `size` bytes must? 0 or -errno. */
int region_head_check(
    const struct region_head *head, uint64_t size, char *why, size_t why_size);
bool region_head_alive(const struct region_head *head);
/* Has anybody the lock that a maker, and who inherits it, has, or may have? */
bool region_file_held(int fd);
void
region_sections_trim(int fd, const struct region_place section[SECT_COUNT]);

#endif
