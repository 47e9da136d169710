/* SPDX-License-Identifier: ISC */
/* The smallest program that uses what is installed; its flavour comes from pkg-config. */
#include <cleave/section.h>
#include <stdio.h>

int main(void)
{
	CLEAVE_SECTION_DOMAIN domain;
	static CLEAVE_SECTION_THREAD self;
	struct cleave index;
	struct cleave_entry entry;
	void *value;

	if (cleave_version() != CLEAVE_VERSION || cleave_section_start(&domain, NULL, 0))
		return 1;
	cleave_section_register(&self, &domain);
	if (cleave_init(&index, &self.thread) || cleave_insert(&index, &self.thread, 10, 19, &index, NULL))
		return 2;
	cleave_section_enter(&self);
	value = cleave_lookup_rcu(&index, 15, &entry);
	cleave_section_leave(&self);
	cleave_destroy(&index, &self.thread);
	cleave_section_unregister(&self, &domain);
	cleave_section_stop(&domain);
	printf("[%d, %d]\n", (int)entry.first, (int)entry.last);
	return value == &index && entry.first == 10 && entry.last == 19 ? 0 : 3;
}
