/* SPDX-License-Identifier: ISC */
/*
 * First steps: map a range, look an address up, clip, unmap.
 *
 *	cc first_steps.c $(pkg-config --cflags --libs cleave-memb)
 */
#include <stdio.h>

#include <cleave/section.h>

static void show(struct cleave *index, struct cleave_urcu_thread *self, uint64_t addr)
{
	struct cleave_entry entry;

	cleave_section_enter(self);
	if (cleave_lookup_rcu(index, addr, &entry))
		printf("%llu: [%llu, %llu] is %s\n", (unsigned long long)addr, (unsigned long long)entry.first,
		       (unsigned long long)entry.last, (const char *)entry.value);
	else
		printf("%llu: nothing in [%llu, %llu]\n", (unsigned long long)addr, (unsigned long long)entry.first,
		       (unsigned long long)entry.last);
	cleave_section_leave(self);
}

int main(void)
{
	static char text[] = "text", stack[] = "stack";
	struct cleave_urcu domain;
	struct cleave_urcu_thread self;
	struct cleave index;

	if (cleave_section_start(&domain, NULL, 0))
		return 1;
	cleave_section_register(&self, &domain);
	if (cleave_init(&index, &self.thread))
		return 1;

	if (cleave_insert(&index, &self.thread, 100, 199, text, NULL) ||
	    cleave_insert(&index, &self.thread, 900, 999, stack, NULL))
		return 1;
	show(&index, &self, 150);
	show(&index, &self, 500);

	/* Two entries of one value, then the upper one goes. */
	if (cleave_clip(&index, &self.thread, 160) || cleave_erase(&index, &self.thread, 160, 199, NULL))
		return 1;
	show(&index, &self, 150);
	show(&index, &self, 160);

	/* Who has found `stack` may still read it: its memory is free after a grace period. */
	if (cleave_erase(&index, &self.thread, 900, 999, NULL))
		return 1;
	cleave_grace_wait(&self.thread, cleave_grace_cookie(&self.thread));
	stack[0] = '\0';

	cleave_destroy(&index, &self.thread);
	cleave_section_unregister(&self, &domain);
	cleave_section_stop(&domain);
	return 0;
}
