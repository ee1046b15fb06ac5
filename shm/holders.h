/*
 * Who has a file open: for refusals, which name whom to look at.
 */
#ifndef SHM_HOLDERS_H
#define SHM_HOLDERS_H

#include <stddef.h>
#include <sys/stat.h>

/*
 * "pid 7 (nodelifed: wal [n1]), pid 9 (…)", this process left out; "another
 * process" if nobody is seen (/proc hides what is another user's).
 */
void holders_of_file(const struct stat *file, char *buf, size_t buf_size);
/* The same of those that may write it. */
void writers_of_file(const struct stat *file, char *buf, size_t buf_size);
/* The same of the socket that is bound to the path. */
void holders_of_socket(const char *path, char *buf, size_t buf_size);

#endif
