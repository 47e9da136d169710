/* SPDX-License-Identifier: ISC */
/* Stands for <sys/types.h> of FreeBSD on amd64: the names that the port uses; the kernel's has bool, too. */
#ifndef STUB_SYS_TYPES_H
#define STUB_SYS_TYPES_H

typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long uint64_t;
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long int64_t;
typedef unsigned long uintptr_t;
typedef long intptr_t;
typedef unsigned long size_t;

#define bool _Bool
#define true 1
#define false 0
#define __bool_true_false_are_defined 1

#endif
