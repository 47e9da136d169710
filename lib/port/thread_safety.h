/* SPDX-License-Identifier: ISC */
/*
 * Lock and read section in the words of clang's -Wthread-safety; nothing for other compilers.  They follow a function's
 * parameters, so that its expressions may name them.
 *
 *   PORT_LOCKS(word), PORT_UNLOCKS(word)  the function takes or gives back the lock word
 *   PORT_TRYLOCKS(word)		   takes it if it returns true
 *   PORT_LOCKED(word)			   the caller holds it
 *   PORT_ENTERS, PORT_LEAVES		   the function opens or closes the read section
 *   PORT_INSIDE, PORT_OUTSIDE		   the caller is in one; is in none
 *   PORT_ASSUMES_INSIDE		   the function is a claim (checked at run time in debug builds) to be in one
 *   PORT_UNCHECKED			   what the body does is beyond the analysis; its callers are still held to
 *					   what its declaration says
 *
 * The analysis follows a lock under one name inside one function.  Beyond it are: sets of locks (a transaction's leaves
 * and branches), a node that has two names or was returned, a section that is opened only if the caller has none
 * (`try_only`), and calls through pointers (index->search, domain->ops).
 */
#ifndef CLEAVE_THREAD_SAFETY_H
#define CLEAVE_THREAD_SAFETY_H

/* The attribute of a type must precede its definition. */
#if defined(__clang__) && !defined(CLEAVE_TYPES_H)
#define PORT_ATTRIBUTE_(...) __attribute__((__VA_ARGS__))
#else
#define PORT_ATTRIBUTE_(...)
#endif

struct PORT_ATTRIBUTE_(capability("lock")) cleave_word32;

/* The calling thread's read section.  Only a name: it is never defined. */
struct PORT_ATTRIBUTE_(capability("read section")) cleave__section {
	char unused;
};
extern struct cleave__section cleave__section;

#define PORT_LOCKS(word) PORT_ATTRIBUTE_(acquire_capability(word))
#define PORT_UNLOCKS(word) PORT_ATTRIBUTE_(release_capability(word))
#define PORT_TRYLOCKS(word) PORT_ATTRIBUTE_(try_acquire_capability(true, word))
#define PORT_LOCKED(word) PORT_ATTRIBUTE_(requires_capability(word))
#define PORT_ENTERS PORT_ATTRIBUTE_(acquire_shared_capability(cleave__section))
#define PORT_LEAVES PORT_ATTRIBUTE_(release_shared_capability(cleave__section))
#define PORT_INSIDE PORT_ATTRIBUTE_(requires_shared_capability(cleave__section))
#define PORT_OUTSIDE PORT_ATTRIBUTE_(locks_excluded(cleave__section))
#define PORT_ASSUMES_INSIDE PORT_ATTRIBUTE_(assert_shared_capability(cleave__section))
#define PORT_UNCHECKED PORT_ATTRIBUTE_(no_thread_safety_analysis)

#endif
