/* SPDX-License-Identifier: ISC */
/*
 * What the programs of this tree have in common towards who runs them: names, numbers, files, progress, an early end.
 *
 * Exit status: 0; 1: a program found what it is there to find, a violation; 2: wrong usage, bad input, no output;
 * 128 + SIGINT: interrupted.  Of these, 1 goes before the others.
 */
#ifndef TOOLS_PROGRAM_H
#define TOOLS_PROGRAM_H

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PROGRAM_WRONG 2
#define PROGRAM_WIDEST 1024 /* columns of a line of progress */

#define PROGRAM_ONCE __attribute__((weak)) /* one of it, of whatever includes this */

/* Without folders. */
PROGRAM_ONCE const char *program_name = "cleave";
/* SIGINT or SIGTERM came (program_ends_early()); 0: not yet. */
PROGRAM_ONCE volatile sig_atomic_t program_stopped;

PROGRAM_ONCE int program__output = -1; /* standard output, where it is kept for a file called "-" */

/* First of all. */
static inline void program_begin(char **argv)
{
	const char *slash = argv[0] ? strrchr(argv[0], '/') : NULL;

	if (slash)
		argv[0] += slash + 1 - argv[0]; /* getopt_long() says who speaks, too */
	if (argv[0])
		program_name = argv[0];
	/* A closed standard output must not become the number of a file that is opened later: it would get the text. */
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			_exit(PROGRAM_WRONG);
}

/* Last of all: was all of the text written?  Return: the exit status. */
static inline int program_end(int status)
{
	bool good;

	errno = 0;
	good = !fflush(stdout) && !ferror(stdout);
	if (!good)
		fprintf(stderr, "%s: standard output: %s\n", program_name,
			errno ? strerror(errno) : "not all of it was written");
	if (program_stopped)
		fprintf(stderr, "%s: interrupted\n", program_name);
	if (!good && !status)
		return PROGRAM_WRONG;
	return program_stopped && !status ? 128 + program_stopped : status;
}

__attribute__((noreturn)) static inline void program_help(const char *text)
{
	fputs(text, stdout);
	exit(program_end(0));
}

/* Complain and end; with "" where getopt_long() has complained already. */
__attribute__((noreturn, format(printf, 1, 2))) static inline void program_wrong(const char *format, ...)
{
	va_list arguments;

	fflush(stdout);
	fprintf(stderr, "%s: ", program_name);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, *format ? " (--help tells more)\n" : "--help tells more\n");
	exit(PROGRAM_WRONG);
}

/* What an option was given: a number from `least` to `most`, or else the program ends. */
static inline uint64_t program_number(const char *option, const char *text, uint64_t least, uint64_t most)
{
	uint64_t number;
	char *end;

	errno = 0;
	number = strtoull(text, &end, 0);
	if (errno || *text < '0' || *text > '9' || *end || number < least || number > most)
		program_wrong("--%s wants a number from %" PRIu64 " to %" PRIu64 ", not '%s'", option, least, most,
			      text);
	return number;
}

/*
 * A file that is written in the end (NULL: none).  Whether that is possible is asked before the work, and until the
 * work is done an old file is left alone.  Where it is standard output ("-"), what is printed goes to standard error.
 */
static inline const char *program_output(const char *path)
{
	struct stat about;
	int fd;

	/* Who reads a pipe would take this for its end. */
	if (!path || (!stat(path, &about) && S_ISFIFO(about.st_mode)))
		return path;
	if (!strcmp(path, "-")) {
		if (program__output < 0)
			program__output = dup(STDOUT_FILENO);
		dup2(STDERR_FILENO, STDOUT_FILENO);
		return path;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0)
		program_wrong("%s: %s", path, strerror(errno));
	close(fd);
	return path;
}

/* To write what program_output() has approved of.  NULL, and a message: it is not possible any more. */
static inline FILE *program_open(const char *path)
{
	FILE *file = strcmp(path, "-") ? fopen(path, "we") : fdopen(program__output, "w");

	if (!file)
		fprintf(stderr, "%s: %s: %s\n", program_name, path, strerror(errno));
	return file;
}

/* Return: was all of it written?  If not, that was said. */
static inline bool program_close(FILE *file, const char *path)
{
	bool good = !ferror(file);

	errno = 0;
	good = !fclose(file) && good;
	if (!good)
		fprintf(stderr, "%s: %s: %s\n", program_name, path, strerror(errno ? errno : EIO));
	return good;
}

/* As a JSON string; what is no ASCII goes through as it is. */
static inline void program_json_string(FILE *file, const char *text)
{
	fputc('"', file);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fprintf(file, "\\%c", *text);
		else if ((unsigned char)*text < ' ')
			fprintf(file, "\\u%04x", (unsigned int)*text);
		else
			fputc(*text, file);
	}
	fputc('"', file);
}

/* A program that is to be run must be there: ask before anything is written over.  PATH is searched as by execvp(). */
static inline void program_command(const char *command)
{
	const char *folder = getenv("PATH");
	char path[4096];
	int error = ENOENT;

	if (strchr(command, '/')) {
		if (access(command, X_OK))
			program_wrong("%s: %s", command, strerror(errno));
		return;
	}
	folder = folder ? folder : "/bin:/usr/bin";
	for (size_t length; *command && *folder; folder += length + (folder[length] == ':')) {
		length = strcspn(folder, ":");
		snprintf(path, sizeof(path), "%.*s/%s", length ? (int)length : 1, length ? folder : ".", command);
		if (!access(path, X_OK))
			return;
		error = errno == EACCES ? EACCES : error;
	}
	program_wrong("%s: %s", command, strerror(error));
}

/* ---- An early end ---- */

static inline void program__stop(int number)
{
	program_stopped = number;
}

/* The first SIGINT or SIGTERM asks to stop (program_stopped) and to report what was done; the second one kills. */
static inline void program_ends_early(void)
{
	struct sigaction action = { .sa_handler = program__stop, .sa_flags = SA_RESTART | (int)SA_RESETHAND };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

/* ---- Progress ---- */

PROGRAM_ONCE bool program__on_line; /* of a terminal, which the next one is written over */

/* Is it time for a line?  Some a second on a terminal, elsewhere one in five seconds. */
static inline bool program_progress_due(FILE *file)
{
	static int64_t next;
	struct timespec time;
	int64_t now;
	bool due;

	timespec_get(&time, TIME_UTC); /* a simulator has a clock_gettime() of its own */
	now = (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
	if (now < next)
		return false;
	due = next != 0; /* not at once */
	next = now + (isatty(fileno(file)) ? 250 : 5000);
	return due;
}

/* On a terminal it is written over the last one, and is no wider than that. */
__attribute__((format(printf, 2, 3))) static inline void program_progress(FILE *file, const char *format, ...)
{
	bool terminal = isatty(fileno(file));
	struct winsize size;
	char text[PROGRAM_WIDEST];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (terminal && !ioctl(fileno(file), TIOCGWINSZ, &size) && size.ws_col > 1 && size.ws_col < sizeof(text))
		text[size.ws_col - 1] = '\0';
	fprintf(file, terminal ? "\r%s\033[K" : "%s\n", text);
	fflush(file);
	program__on_line = terminal;
}

/* Before anything else is printed. */
static inline void program_progress_over(FILE *file)
{
	if (program__on_line)
		fputs("\r\033[K", file);
	program__on_line = false;
	fflush(file);
}

#endif
