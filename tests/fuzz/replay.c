// SPDX-License-Identifier: GPL-2.0-only
/* Gives each file of the corpus to the fuzzer's function: a line for each. */
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");
		uint8_t *data = malloc(1 << 20);
		size_t size;

		if (!f || !data) {
			fprintf(stderr, "cannot read %s\n", argv[i]);
			return 1;
		}
		/* Of just its size, for the sanitizer. */
		size = fread(data, 1, 1 << 20, f);
		fclose(f);
		data = realloc(data, size ? size : 1);
		printf("# %s\n", argv[i]);
		fflush(stdout);
		LLVMFuzzerTestOneInput(data, size);
		free(data);
		puts("ok");
	}
	return 0;
}
