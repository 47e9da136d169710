/* SPDX-License-Identifier: ISC */
/*
 * Something for a compiler to chew on: many functions made by macros.
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ONE(n)								\
static double								\
work_##n(const double *values, size_t count)				\
{									\
	double sum = n;							\
									\
	for (size_t i = 0; i < count; i++) {				\
		switch ((i + n) % 5) {					\
		case 0: sum += sqrt(fabs(values[i])); break;		\
		case 1: sum *= 1.0 + values[i] / (n + 3.0); break;	\
		case 2: sum -= values[i] > sum ? values[i] : sum / 2; break; \
		default: sum += values[i] * values[count - 1 - i]; break; \
		}							\
	}								\
	return sum;							\
}

#define TEN(n)	ONE(n##0) ONE(n##1) ONE(n##2) ONE(n##3) ONE(n##4) \
		ONE(n##5) ONE(n##6) ONE(n##7) ONE(n##8) ONE(n##9)
#define HUNDRED(n) TEN(n##0) TEN(n##1) TEN(n##2) TEN(n##3) TEN(n##4) \
		TEN(n##5) TEN(n##6) TEN(n##7) TEN(n##8) TEN(n##9)

HUNDRED(1)
HUNDRED(2)

#define USE_ONE(n)	sum += work_##n(values, 64);
#define USE_TEN(n)	USE_ONE(n##0) USE_ONE(n##1) USE_ONE(n##2) USE_ONE(n##3) USE_ONE(n##4) \
			USE_ONE(n##5) USE_ONE(n##6) USE_ONE(n##7) USE_ONE(n##8) USE_ONE(n##9)
#define USE_HUNDRED(n)	USE_TEN(n##0) USE_TEN(n##1) USE_TEN(n##2) USE_TEN(n##3) USE_TEN(n##4) \
			USE_TEN(n##5) USE_TEN(n##6) USE_TEN(n##7) USE_TEN(n##8) USE_TEN(n##9)

int
main(void)
{
	double values[64], sum = 0;

	for (int i = 0; i < 64; i++)
		values[i] = i / 7.0;
	USE_HUNDRED(1)
	USE_HUNDRED(2)
	printf("%f\n", sum);
	return 0;
}
