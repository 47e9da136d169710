/* SPDX-License-Identifier: ISC */
#include "script.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "space_model.h"

#define SUFFIX ".trace.zst"
#define WORTH_SCALING 1000 /* ranges */

/* ---- From a recording to scripts ---- */

struct splitting {
	struct scripts *scripts;
	struct recording *recording;
	struct space_model *model;
	size_t *of; /* the script of each process */
};

static int add_effect(struct script *script, const struct space_effect *effect)
{
	if (script->count == script->room) {
		size_t room = script->room ? 2 * script->room : 64;
		struct space_effect *grown = realloc(script->effect, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		script->effect = grown;
		script->room = room;
	}
	script->effect[script->count++] = *effect;
	return 0;
}

static int add_script(struct scripts *scripts, struct recording *recording, uint32_t process)
{
	if (scripts->count == scripts->room) {
		size_t room = scripts->room ? 2 * scripts->room : 64;
		struct script *grown = realloc(scripts->script, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		scripts->script = grown;
		scripts->room = room;
	}
	scripts->script[scripts->count++] = (struct script){ .recording = recording, .process = process };
	return 0;
}

static int begin_process(struct splitting *splitting, const struct space_effect *effect)
{
	const struct space_range *ranges;
	struct script *script;
	size_t n;
	int error = add_script(splitting->scripts, splitting->recording, effect->process);

	if (error)
		return error;
	splitting->of[effect->process] = splitting->scripts->count - 1;
	script = &splitting->scripts->script[splitting->of[effect->process]];
	n = space_model_ranges(splitting->model, effect->process, &ranges);
	for (size_t i = 0; i < n && !error; i++)
		error = add_effect(script, &(struct space_effect){ .kind = SPACE_MAP, .range = ranges[i] });
	script->initial = script->count;
	return error;
}

static int on_effect(void *context, const struct space_effect *effect)
{
	struct splitting *splitting = context;
	const struct space_range *ranges;
	struct script *script;
	size_t n;
	int error = effect->kind == SPACE_SNAPSHOT ? 0 : space_model_effect(splitting->model, effect);

	if (error)
		return error;
	if (effect->kind == SPACE_EXEC || effect->kind == SPACE_FORK)
		return begin_process(splitting, effect);
	if (effect->kind == SPACE_EXIT)
		return 0;
	script = &splitting->scripts->script[splitting->of[effect->process]];
	n = space_model_ranges(splitting->model, effect->process, &ranges);
	if (n > script->peak)
		script->peak = n;
	return add_effect(script, effect);
}

static bool on_next(void *context, uint32_t process, uint64_t from, struct space_range *range)
{
	struct splitting *splitting = context;

	return space_model_next(splitting->model, process, from, range);
}

static int split(struct scripts *scripts, struct recording *recording)
{
	static const struct space_ops ops = { on_effect, on_next };
	struct splitting splitting = { .scripts = scripts, .recording = recording };
	struct space *space = NULL;
	int error;

	splitting.of = calloc(recording->log->processes + 1, sizeof(*splitting.of));
	error = splitting.of ? space_model_create(&splitting.model) : -ENOMEM;
	if (!error)
		error = space_create(&space, &ops, &splitting);
	for (size_t i = 0; i < recording->log->count && !error; i++)
		error = space_apply(space, &recording->log->event[i]);
	space_destroy(space);
	space_model_destroy(splitting.model);
	free(splitting.of);
	return error;
}

/* ---- Scaled ---- */

static int add_scaled(struct scripts *scripts, struct recording *recording, uint64_t count, uint64_t seed)
{
	struct script *script;
	struct scale *scale;
	int error = scale_peak(&scale, recording->log, count, seed);

	if (error < 0)
		return error == -ENODATA || error == -EINVAL || error == -ENOSPC ? 0 : error;
	error = add_script(scripts, recording, scale->process);
	if (error) {
		scale_free(scale);
		return error;
	}
	script = &scripts->script[scripts->count - 1];
	script->scale = scale;
	for (size_t i = 0; i < scale->count && !error; i++) {
		const struct trace_range *from = &scale->range[i];
		struct space_effect effect = { .kind = SPACE_MAP,
					       .range = { from->start, from->end, from->offset, from->object,
							  from->attributes } };

		error = add_effect(script, &effect);
	}
	script->initial = script->peak = script->count;
	return error;
}

/* ---- All ---- */

static int load(struct scripts *scripts, const char *directory, const char *name)
{
	struct recording *grown, *recording;
	char path[4096], message[256];
	int error;

	grown = realloc(scripts->recording, (scripts->recordings + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	scripts->recording = grown;
	recording = &grown[scripts->recordings];
	memset(recording, 0, sizeof(*recording));
	snprintf(recording->name, sizeof(recording->name), "%.*s", (int)(strlen(name) - strlen(SUFFIX)), name);
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	error = trace_load(&recording->log, path, message, sizeof(message));
	if (error) {
		fprintf(stderr, "cleave-stress: %s: %s\n", path, message);
		return error;
	}
	recording->processes = recording->log->processes;
	scripts->recordings++;
	return 0;
}

static int is_recording(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);

	return length > strlen(SUFFIX) && !strcmp(entry->d_name + length - strlen(SUFFIX), SUFFIX);
}

int scripts_load(struct scripts *scripts, const char *directory, uint64_t scale, uint64_t seed)
{
	struct dirent **names;
	int n = scandir(directory, &names, is_recording, alphasort), error = 0;

	if (n <= 0) {
		fprintf(stderr, "cleave-stress: no recordings (*" SUFFIX ") in %s\n", directory);
		return -ENOENT;
	}
	for (int i = 0; i < n; i++) {
		if (!error)
			error = load(scripts, directory, names[i]->d_name);
		free(names[i]);
	}
	free(names);
	/* The array stays where it is from now on. */
	for (size_t i = 0; i < scripts->recordings && !error; i++)
		error = split(scripts, &scripts->recording[i]);

	size_t recorded = scripts->count;
	uint64_t wanted = scale;

	for (size_t i = 0; i < recorded && !error; i++) {
		if (scripts->script[i].peak < WORTH_SCALING)
			continue;
		error = add_scaled(scripts, scripts->script[i].recording, wanted, seed);
		wanted += scale / 2;
	}
	return error;
}

void scripts_unload(struct scripts *scripts)
{
	for (size_t i = 0; i < scripts->count; i++) {
		free(scripts->script[i].effect);
		scale_free(scripts->script[i].scale);
	}
	for (size_t i = 0; i < scripts->recordings; i++)
		trace_unload(scripts->recording[i].log);
	free(scripts->script);
	free(scripts->recording);
}
