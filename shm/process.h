/*
 * What /proc tells of processes, and of the system that they are in.
 */
#ifndef SHM_PROCESS_H
#define SHM_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/*
 * Start time of a process in clock ticks since the system's boot, 0 if there
 * is none or it is a zombie.
 */
uint64_t process_start(int pid);
/* The letter of /proc/PID/stat: R, S, D, T, ...; 0 = unknown. */
char process_state(int pid);
/* By a signal or a debugger. No, too, if that cannot be seen. */
bool process_stopped(int pid);
/* The first that its main thread forked; 0 = none, or it cannot be seen. */
int process_child(int pid);
/*
 * Is one of its descriptors this file, to_write: one that it may write by? No,
 * too, if that cannot be seen.
 */
bool process_has_open(int pid, const struct stat *file, bool to_write);
/*
 * "prlimit --pid ..." for the processes that a limit of the size of files must
 * be taken from when this one met it: the supervisor, which hands it down, and
 * this one unless that is the same or self is 0. "" if it has no such limit.
 */
void process_unlimit(char *buf, size_t size, int supervisor, int self);
/* The system's boot id as text; "" if unreadable. */
void system_boot_id(char *out, size_t size);
/* Which namespaces this process is in: whose pids it sees, whose mounts. */
uint64_t pid_space(void);
uint64_t mount_space(void);

#endif
