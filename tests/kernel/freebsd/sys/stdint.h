/* SPDX-License-Identifier: ISC */
/* Stands for <sys/stdint.h> of FreeBSD: stdint(7). */
#ifndef STUB_SYS_STDINT_H
#define STUB_SYS_STDINT_H

#include <sys/types.h>

#define UINT8_MAX 0xff
#define UINT16_MAX 0xffff
#define UINT32_MAX 0xffffffffU
#define UINT64_MAX 0xffffffffffffffffUL
#define INT64_MAX 0x7fffffffffffffffL
#define SIZE_MAX 0xffffffffffffffffUL
#define UINT32_C(c) (c##U)
#define UINT64_C(c) (c##UL)

#endif
