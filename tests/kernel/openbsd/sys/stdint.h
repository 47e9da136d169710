/* SPDX-License-Identifier: ISC */
/* Stands for <sys/stdint.h> of OpenBSD: stdint(3). */
#ifndef STUB_SYS_STDINT_H
#define STUB_SYS_STDINT_H

#include <sys/types.h>

#define UINT8_MAX 0xff
#define UINT16_MAX 0xffff
#define UINT32_MAX 0xffffffffU
#define UINT64_MAX 0xffffffffffffffffULL
#define INT64_MAX 0x7fffffffffffffffLL
#define SIZE_MAX 0xffffffffffffffffUL
#define UINT32_C(c) (c##U)
#define UINT64_C(c) (c##ULL)

#endif
