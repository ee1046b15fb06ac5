/*
 * Reload: what differs between the running configuration and a fresh one, and
 * taking over what may change while the node runs.
 */
#include "conf/conf_schema.h"

uint32_t
conf_diff(const struct conf *old, const struct conf *fresh,
    struct conf_change list[CONF_KEYS_MAX])
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < conf_key_count(); i++) {
		const struct conf_key *key = conf_key_at(i);

		if (conf_value_equal(old, fresh, key))
			continue;
		list[count++] = (struct conf_change){ key, key->live };
	}
	return count;
}

void
conf_apply_live(struct conf *running, const struct conf *fresh)
{
	for (uint32_t i = 0; i < conf_key_count(); i++) {
		const struct conf_key *key = conf_key_at(i);

		if (!key->live)
			continue;
		conf_value_copy(running, fresh, key);
		running->line[i] = fresh->line[i];
	}
}
