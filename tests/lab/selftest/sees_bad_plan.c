// SPDX-License-Identifier: GPL-2.0
/*
 * lab: module=no kernels=6.12 expect="planned 3 checks and made 1"
 *
 * A TAP program that ends early is seen, although it exits with 0.
 */
#include <stdio.h>

int main(void)
{
	printf("1..3\nok 1 - the first of three\n");
	return 0;
}
