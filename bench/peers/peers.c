/* SPDX-License-Identifier: ISC */
/* Which peers there are: those compiled in, and the module of the maple tree beside the program. */
#define _GNU_SOURCE
#include "peers.h"

#include "grace.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PEERS 8

static const struct bench_impl *peers[PEERS];
static char maple_missing[256];

/* The module stands in the same directory as the program. */
static const struct bench_impl *load_maple(void)
{
	const struct bench_impl *(*module)(const struct grace_calls *);
	char path[4096];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 32);
	void *handle, *symbol;

	if (length < 0)
		return NULL;
	path[length] = '\0';
	*strrchr(path, '/') = '\0';
	strcat(path, "/" BENCH_MAPLE);
	if (access(path, R_OK)) {
		snprintf(maple_missing, sizeof(maple_missing), "no linux-source when this was built, or a debug build");
		return NULL;
	}
	handle = dlopen(path, RTLD_NOW);
	symbol = handle ? dlsym(handle, "bench_module") : NULL;
	if (!symbol) {
		snprintf(maple_missing, sizeof(maple_missing), "%.240s", dlerror());
		return NULL;
	}
	memcpy(&module, &symbol, sizeof(module));
	return module(&grace_calls);
}

const struct bench_impl *const *peers_all(void)
{
	size_t n = 0;

	if (peers[0])
		return peers;

	const struct bench_impl *maple = load_maple();

	if (maple)
		peers[n++] = maple;
#ifdef BENCH_RBTREE
	peers[n++] = &peer_rbtree;
#endif
#ifdef BENCH_JUDY
	peers[n++] = &peer_judy;
#endif
#ifdef BENCH_ABSL
	peers[n++] = &peer_absl;
#endif
#ifdef BENCH_TBB
	peers[n++] = &peer_tbb;
#endif
#ifdef BENCH_CDS
	peers[n++] = &peer_cds;
#endif
	peers[n++] = &peer_array;
	return peers;
}

void peers_missing(void)
{
	peers_all();
	if (*maple_missing)
		printf("left out: maple tree (%s)\n", maple_missing);
#ifndef BENCH_RBTREE
	printf("left out: rbtree rwlock (libbsd-dev)\n");
#endif
#ifndef BENCH_JUDY
	printf("left out: JudyL rwlock (libjudy-dev)\n");
#endif
#ifndef BENCH_ABSL
	printf("left out: absl btree (libabsl-dev and a C++ compiler)\n");
#endif
#ifndef BENCH_TBB
	printf("left out: TBB map (libtbb-dev and a C++ compiler)\n");
#endif
#ifndef BENCH_CDS
	printf("left out: libcds AVL (libcds-dev and a C++ compiler)\n");
#endif
}
