// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs the suites that were linked in. Stops at the first case that fails: the
 * mutation check only asks whether one does. An argument names one suite.
 */
static struct kunit_suite *suites[16];
static unsigned int nr_suites;

void host_add_suite(struct kunit_suite *suite)
{
	suites[nr_suites++] = suite;
}

/* The first bit from @from on that is set below @size, or @size. */
unsigned long find_next_bit(const unsigned long *map, unsigned long size, unsigned long from)
{
	while (from < size && !(map[from / BITS_PER_LONG] >> from % BITS_PER_LONG & 1))
		from++;
	return from < size ? from : size;
}

void *kunit_kzalloc(struct kunit *test, size_t n, int flags)
{
	(void)flags;
	if (test->nr_owned == ARRAY_SIZE(test->owned))
		return NULL;
	return test->owned[test->nr_owned++] = calloc(1, n);
}

void host_fail(struct kunit *test, bool leave, const char *file, int line, const char *what)
{
	if (!test->failed)
		fprintf(stderr, "%s: %s:%d: not so: %s\n", test->name, file, line, what);
	test->failed = true;
	if (leave)
		longjmp(test->leave, 1);
}

int main(int argc, char **argv)
{
	struct kunit_case *c;
	unsigned int i, ran = 0;

	for (i = 0; i < nr_suites; i++) {
		if (argc > 1 && strcmp(argv[1], suites[i]->name))
			continue;
		for (c = suites[i]->test_cases; c->run; c++, ran++) {
			struct kunit test = { .name = c->name };

			if (!setjmp(test.leave))
				c->run(&test);
			while (test.nr_owned)
				free(test.owned[--test.nr_owned]);
			if (test.failed)
				return 1;
		}
	}
	printf("%u cases passed\n", ran);
	return ran ? 0 : 2;
}
