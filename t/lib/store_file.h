/*
 * data.mdb as a test makes and mutilates it: opened without flushes, read as an
 * image; and chance by seed.
 */
#ifndef T_LIB_STORE_FILE_H
#define T_LIB_STORE_FILE_H

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/kv/store_db_int.h"
#include "t/tap.h"

/* The next number below n. */
static inline uint32_t
file_dice(uint64_t *seed, uint32_t n)
{
	*seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(*seed >> 33) % n;
}

static inline void
file_must(int rc, const char *what)
{
	if (rc == 0)
		return;
	diag("%s: %d", what, rc);
	abort();
}

static inline void
file_store_open(struct store_db *db, const char *dir, uint64_t map)
{
	char why[256];

	file_must(
	    store_db_open(db, dir, STORE_DB_WRITE, map, why, sizeof(why)), why);
	file_must(mdb_env_set_flags(db->env, MDB_NOSYNC, 1), "no sync");
}

/* The file's bytes, in the place of those before, which are freed. */
static inline void
file_image(const char *file, uint8_t **image, size_t *size)
{
	struct stat sb;
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &sb) != 0)
		abort();
	*size = (size_t)sb.st_size;
	free(*image);
	*image = malloc(*size);
	if (*image == NULL || pread(fd, *image, *size, 0) != (ssize_t)*size)
		abort();
	close(fd);
}

#endif
