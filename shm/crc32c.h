/*
 * CRC32C (Castagnoli; RFC 3720, section 12.1): the checksum of everything
 * that leaves a process' memory for a disk or a wire.
 */
#ifndef SHM_CRC32C_H
#define SHM_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues from `seed`, which is 0 or what was returned for the bytes before.
 */
uint32_t crc32c(uint32_t seed, const void *data, size_t n);

#endif
