// SPDX-License-Identifier: GPL-2.0-only
/*
 * The state machine's truth table: every role, state and step, each cell
 * written out. The cells are not computed from anything the code has.
 */
#include <kunit/test.h>
#include <linux/errno.h>

#include "state.h"

#define SETUP		KVM_FERRY_STATE_SETUP
#define CONNECTING	KVM_FERRY_STATE_CONNECTING
#define LIVE		KVM_FERRY_STATE_LIVE
#define FINAL		KVM_FERRY_STATE_FINAL
#define PAUSED		KVM_FERRY_STATE_PAUSED
#define COMMITTING	KVM_FERRY_STATE_COMMITTING
#define DONE		KVM_FERRY_STATE_DONE
#define FAILED		KVM_FERRY_STATE_FAILED
#define ABORTED		KVM_FERRY_STATE_ABORTED
#define IN_DOUBT	KVM_FERRY_STATE_IN_DOUBT
#define BUSY		(-EBUSY)
#define OVER		(-ESHUTDOWN)

struct row {
	u32 role;
	u32 state;
	int next[FERRY_NR_STEPS];
};

#define ROW(role, state, start, agreed, final, placed, commit, owned, error, refused, \
	    abort, close) \
	{ KVM_FERRY_##role, state, { \
		[FERRY_STEP_START] = start, [FERRY_STEP_AGREED] = agreed, \
		[FERRY_STEP_FINAL] = final, [FERRY_STEP_PLACED] = placed, \
		[FERRY_STEP_COMMIT] = commit, [FERRY_STEP_OWNED] = owned, \
		[FERRY_STEP_ERROR] = error, [FERRY_STEP_REFUSED] = refused, \
		[FERRY_STEP_ABORT] = abort, [FERRY_STEP_CLOSE] = close } }

static const struct row rows[] = {
/*                           START       AGREED FINAL  PLACED  COMMIT      OWNED */
/*                           ERROR       REFUSED     ABORT       CLOSE */
	ROW(SOURCE, SETUP,      CONNECTING, BUSY,  BUSY,  BUSY,   BUSY,       BUSY,
				FAILED,     FAILED,     ABORTED,    ABORTED),
	ROW(SOURCE, CONNECTING, BUSY,       LIVE,  BUSY,  BUSY,   BUSY,       BUSY,
				FAILED,     FAILED,     ABORTED,    ABORTED),
	ROW(SOURCE, LIVE,       BUSY,       BUSY,  FINAL, BUSY,   BUSY,       BUSY,
				FAILED,     FAILED,     ABORTED,    ABORTED),
	ROW(SOURCE, FINAL,      BUSY,       BUSY,  BUSY,  PAUSED, BUSY,       BUSY,
				FAILED,     FAILED,     ABORTED,    ABORTED),
	ROW(SOURCE, PAUSED,     BUSY,       BUSY,  BUSY,  BUSY,   COMMITTING, BUSY,
				FAILED,     FAILED,     ABORTED,    ABORTED),
	ROW(SOURCE, COMMITTING, BUSY,       BUSY,  BUSY,  BUSY,   BUSY,       DONE,
				IN_DOUBT,   FAILED,     BUSY,       IN_DOUBT),
	ROW(SOURCE, DONE,       OVER,       OVER,  OVER,  OVER,   OVER,       OVER,
				DONE,       DONE,       DONE,       DONE),
	ROW(SOURCE, FAILED,     OVER,       OVER,  OVER,  OVER,   OVER,       OVER,
				FAILED,     FAILED,     FAILED,     FAILED),
	ROW(SOURCE, ABORTED,    OVER,       OVER,  OVER,  OVER,   OVER,       OVER,
				ABORTED,    ABORTED,    ABORTED,    ABORTED),
	ROW(SOURCE, IN_DOUBT,   OVER,       OVER,  OVER,  OVER,   OVER,       OVER,
				IN_DOUBT,   IN_DOUBT,   IN_DOUBT,   IN_DOUBT),
	ROW(SINK,   SETUP,      CONNECTING, BUSY,  BUSY,  BUSY,   BUSY,       BUSY,
				FAILED,     FAILED,     ABORTED,    ABORTED),
	ROW(SINK,   CONNECTING, BUSY,       LIVE,  BUSY,  BUSY,   BUSY,       BUSY,
				FAILED,     FAILED,     ABORTED,    ABORTED),
	ROW(SINK,   LIVE,       BUSY,       BUSY,  FINAL, BUSY,   BUSY,       BUSY,
				FAILED,     FAILED,     ABORTED,    ABORTED),
	ROW(SINK,   FINAL,      BUSY,       BUSY,  BUSY,  PAUSED, BUSY,       BUSY,
				FAILED,     FAILED,     ABORTED,    ABORTED),
	ROW(SINK,   PAUSED,     BUSY,       BUSY,  BUSY,  BUSY,   COMMITTING, BUSY,
				FAILED,     FAILED,     ABORTED,    ABORTED),
	ROW(SINK,   COMMITTING, BUSY,       BUSY,  BUSY,  BUSY,   BUSY,       DONE,
				FAILED,     FAILED,     ABORTED,    ABORTED),
	ROW(SINK,   DONE,       OVER,       OVER,  OVER,  OVER,   OVER,       OVER,
				DONE,       DONE,       DONE,       DONE),
	ROW(SINK,   FAILED,     OVER,       OVER,  OVER,  OVER,   OVER,       OVER,
				FAILED,     FAILED,     FAILED,     FAILED),
	ROW(SINK,   ABORTED,    OVER,       OVER,  OVER,  OVER,   OVER,       OVER,
				ABORTED,    ABORTED,    ABORTED,    ABORTED),
	/* A sink never comes here; it would stay all the same. */
	ROW(SINK,   IN_DOUBT,   OVER,       OVER,  OVER,  OVER,   OVER,       OVER,
				IN_DOUBT,   IN_DOUBT,   IN_DOUBT,   IN_DOUBT),
};

static void truth_table(struct kunit *test)
{
	size_t i;
	int step;

	KUNIT_ASSERT_EQ(test, ARRAY_SIZE(rows), 2 * FERRY_NR_STATES);
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		/* No row is missing and none stands twice. */
		KUNIT_ASSERT_EQ(test, rows[i].role * FERRY_NR_STATES + rows[i].state, i);
		for (step = 0; step < FERRY_NR_STEPS; step++)
			KUNIT_EXPECT_EQ_MSG(test,
				ferry_state_next(rows[i].role, rows[i].state, step),
				rows[i].next[step], "role %u, state %s, step %d",
				rows[i].role, ferry_state_name(rows[i].state), step);
	}
}

static void unknown_steps_change_nothing(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, ferry_state_next(KVM_FERRY_SOURCE, LIVE, FERRY_NR_STEPS), -EBUSY);
	KUNIT_EXPECT_EQ(test, ferry_state_next(KVM_FERRY_SINK, LIVE, (enum ferry_step)77), -EBUSY);
}

static void endings(struct kunit *test)
{
	static const bool ended[FERRY_NR_STATES] = {
		[DONE] = true, [FAILED] = true, [ABORTED] = true, [IN_DOUBT] = true,
	};
	u32 state;

	for (state = 0; state < FERRY_NR_STATES; state++)
		KUNIT_EXPECT_EQ_MSG(test, ferry_state_ended(state), ended[state], "state %u", state);
	KUNIT_EXPECT_FALSE(test, ferry_state_ended(FERRY_NR_STATES));
}

static void names(struct kunit *test)
{
	static const char * const want[] = {
		"setup", "connecting", "live", "final", "paused", "committing",
		"done", "failed", "aborted", "in-doubt", "unknown",
	};
	u32 state;

	KUNIT_ASSERT_EQ(test, ARRAY_SIZE(want), FERRY_NR_STATES + 1);
	for (state = 0; state <= FERRY_NR_STATES; state++)
		KUNIT_EXPECT_STREQ(test, ferry_state_name(state), want[state]);
	KUNIT_EXPECT_STREQ(test, ferry_state_name(~0U), "unknown");
}

static struct kunit_case cases[] = {
	KUNIT_CASE(truth_table),
	KUNIT_CASE(unknown_steps_change_nothing),
	KUNIT_CASE(endings),
	KUNIT_CASE(names),
	{}
};

static struct kunit_suite suite = {
	.name = "ferry_state",
	.test_cases = cases,
};
kunit_test_suite(suite);
