// SPDX-License-Identifier: Apache-2.0
/*
 * What the symbolizer says of addresses: symbols [-n] [-r ROOT] FILE [PATH], addresses in hex on stdin, one a line ("r" in
 * front: a return address). A line of JSON for each: [[name, file, line, is_inline], ...], or null where nothing is known. -n: no
 * DWARF. PATH: what the process calls the file. The last line: bytes that the symbolizer holds.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "symbolize/native.h"

static void print_answer(const struct symbols *answer)
{
	json_t *list = json_array();

	for (size_t i = 0; i < answer->count; i++) {
		const struct symbol *s = &answer->list[i];

		json_array_append_new(list, json_pack("[s, s, i, b]", s->name, s->file, (int)s->line, (int)s->is_inline));
	}
	if (!answer->known)
		puts("null");
	else
		json_dumpf(list, stdout, JSON_COMPACT | JSON_ENSURE_ASCII), putchar('\n');
	json_decref(list);
}

int main(int argc, char **argv)
{
	struct symbolizer_config config = {0};
	const char *root = NULL;
	struct symbolizer *s;
	struct symbol_file *file;
	int fd, root_fd, option;
	char line[64];

	while ((option = getopt(argc, argv, "nr:")) != -1) {
		if (option == 'n')
			config.no_dwarf = true;
		else if (option == 'r')
			root = optarg;
		else
			return 2;
	}
	if (optind >= argc)
		return 2;
	fd = open(argv[optind], O_RDONLY | O_CLOEXEC);
	root_fd = root ? open(root, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	s = symbolizer__new(&config);
	if (fd < 0 || !s ||
	    symbolizer__file(s, fd, root_fd, optind + 1 < argc ? argv[optind + 1] : argv[optind], &file)) {
		perror(argv[optind]);
		return 1;
	}
	while (fgets(line, sizeof(line), stdin)) {
		bool is_return = line[0] == 'r';
		struct symbols answer;

		if (symbolizer__resolve(s, file, strtoull(line + is_return, NULL, 16), is_return, &answer))
			return 1;
		print_answer(&answer);
	}
	printf("%zu\n", symbolizer__memory(s));
	symbolizer__free(s);
	close(fd);
	return 0;
}
