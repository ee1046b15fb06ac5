/*
 * The file data_dir/members is a copy of the newest *committed* record, for
 * the day when the log no longer holds it:
 *
 *	off size
 *	  0    4  CRC32C of bytes 4..end
 *	  4    4  magic "NLMB"
 *	  8    4  format version of the file, 1
 *	 12    4  payload length
 *	 16    8  VLSN of the record
 *	 24       payload
 *
 * Pure functions: no I/O, no allocation. Nothing here logs.
 */
#ifndef WORKERS_GROUP_MEMBER_FILE_H
#define WORKERS_GROUP_MEMBER_FILE_H

#include "workers/group/core/member.h"

#define MEMBER_FILE_MAGIC  UINT32_C(0x424d4c4e) /* "NLMB" */
#define MEMBER_FILE_FORMAT 1u /* of the file; the payload has its own */
#define MEMBER_FILE_HEAD   24
#define MEMBER_FILE_MAX    (MEMBER_FILE_HEAD + MEMBER_RECORD_MAX)

/*
 * As member_encode() and member_decode(); at must have room for
 * MEMBER_FILE_MAX bytes.
 */
size_t member_file_encode(uint8_t *at, const struct membership *m);
int member_file_decode(const uint8_t *at, size_t n, struct membership *out);

#endif
