/* SPDX-License-Identifier: ISC */
#include "pace.h"
#include "measure.h"

#define ADDITIONS 10000u /* of each chain: some 10 us */
#define START 0.2	 /* seconds */
#define SLOWER 1.1	 /* times the fastest: not at full pace */

/* Of each processor, written by whoever is on it. */
static struct {
	_Alignas(MEASURE_APART) double fastest;
} processors[2];
static _Thread_local unsigned int here;

static double patience, spent;

void pace_on(unsigned int number)
{
	here = number;
}

/* As many chains as a core can add to at once: whoever takes one unit's time away is seen.  Seconds. */
static double probe(void)
{
	unsigned long a = 0, b = 0, c = 0, d = 0, e = 0, f = 0;
	double start = measure_wall(), seconds;

	for (unsigned int i = 0; i < ADDITIONS; i++) {
		a++, b++, c++, d++, e++, f++;
		/* The sums are not to be computed beforehand. */
		__asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
	}
	seconds = measure_wall() - start;
	if (!processors[here].fastest || seconds < processors[here].fastest)
		processors[here].fastest = seconds;
	return seconds;
}

bool pace_full(void)
{
	return probe() <= SLOWER * processors[here].fastest;
}

void pace_start(void)
{
	double start = measure_wall();

	while (measure_wall() - start < START)
		probe();
}

void pace_start_both(const int processor[2], bool wanted)
{
	for (unsigned int i = 2; i-- > 0 && wanted;) {
		if (processor[i] < 0)
			continue;
		measure_pin(processor[i]);
		pace_on(i);
		pace_start();
	}
}

void pace_grant(double seconds)
{
	patience = seconds;
}

double pace_patience(void)
{
	return patience;
}

void pace_waited(double seconds)
{
	patience -= seconds;
	spent += seconds;
}

double pace_wait(double seconds)
{
	double start = measure_wall();

	while (!pace_full() && measure_wall() - start < seconds)
		;
	return measure_wall() - start;
}

bool pace_again(bool full, double began)
{
	if (full || patience <= 0)
		return false;
	pace_waited(measure_wall() - began);
	return true;
}

void pace_begin(struct pace *pace)
{
	pace_waited(pace_wait(patience));
	pace->began = measure_wall();
	pace->full = true;
}

void pace_mark(struct pace *pace)
{
	pace->full = pace_full();
}

bool pace_end(struct pace *pace)
{
	pace->full = pace->full && pace_full();
	return !pace_again(pace->full, pace->began);
}

double pace_spent(void)
{
	return spent;
}
