/*
 * The glob of KEYS, SCAN MATCH and CONFIG GET, as Redis has it: * ? [abc] [a-z]
 * [^x] and a backslash before a character that is meant as such. A class that
 * is not closed ends with the pattern.
 */
#ifndef SHM_KV_GLOB_H
#define SHM_KV_GLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Does the pattern match the whole text? Its time is pattern times text at
 * most, however many stars: only the last one is ever tried again.
 */
bool glob_match(const uint8_t *pattern, size_t pattern_len, const uint8_t *text,
    size_t text_len);

#endif
