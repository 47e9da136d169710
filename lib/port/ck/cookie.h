/* SPDX-License-Identifier: ISC */
/*
 * How far behind the epoch that a cookie reads the grace period ends: ck.c argues for the numbers,
 * tests/test_ck_cookie.c tries all interleavings of them.
 */
#ifndef CLEAVE_PORT_CK_COOKIE_H
#define CLEAVE_PORT_CK_COOKIE_H

#define CLEAVE__CK_GRACE_TSO 2u
#define CLEAVE__CK_GRACE_RMO 3u

/* Without a barrier, inside a section: the epoch that is read may be one behind. */
#define CLEAVE__CK_BEHIND 1u

#endif
