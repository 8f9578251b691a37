"""Tests of the communication volume of compiled programs on eight devices against the expected one."""

import pytest

from svilm_jax.profiling.hlo_traffic import collective_bytes
from tests.parallel.processes import rows_of

# As TPUs write it: no trip count but a bound in the condition, groups as axes of a mesh, one transfer in two places.
TPU = """HloModule jit_f
%start (p: bf16[1,256,64]) -> bf16[1,1024,64] {
  %p = bf16[1,256,64]{2,1,0:T(8,128)(2,1)} parameter(0)
  ROOT %g = bf16[1,1024,64]{2,1,0:T(8,128)(2,1)} all-gather(%p), channel_id=6, replica_groups=mesh['a'=4,'b'=2] {'a'}
}
%done (p: bf16[1,256,64]) -> bf16[1,1024,64] {
  %p = bf16[1,256,64]{2,1,0:T(8,128)(2,1)} parameter(0)
  ROOT %g = bf16[1,1024,64]{2,1,0:T(8,128)(2,1)} all-gather(%p), channel_id=6, replica_groups=mesh['a'=4,'b'=2] {'a'}
}
%body (t: (s32[], bf16[1,256,64])) -> (s32[], bf16[1,256,64]) {
  %t = (s32[]{:T(128)}, bf16[1,256,64]{2,1,0}) parameter(0)
  %x = bf16[1,256,64]{2,1,0} get-tuple-element(%t), index=1
  %s = bf16[1,1024,64]{2,1,0} fusion(%x), kind=kCustom, calls=%start
  %d = bf16[1,1024,64]{2,1,0} fusion(%x), kind=kCustom, calls=%done
  ROOT %r = (s32[]{:T(128)}, bf16[1,256,64]{2,1,0}) tuple(%t, %x)
}
%condition (t: (s32[], bf16[1,256,64])) -> pred[] {
  %t = (s32[]{:T(128)}, bf16[1,256,64]{2,1,0}) parameter(0)
  %n = s32[]{:T(128)} constant(5)
  %i = s32[]{:T(128)} get-tuple-element(%t), index=0
  ROOT %c = pred[]{:T(512)} compare(%i, %n), direction=LT
}
ENTRY %main (p: (s32[], bf16[1,256,64])) -> (s32[], bf16[1,256,64]) {
  %p = (s32[]{:T(128)}, bf16[1,256,64]{2,1,0}) parameter(0)
  ROOT %w = (s32[]{:T(128)}, /*index=1*/bf16[1,256,64]{2,1,0:T(8,128)(2,1)}) while(%p), condition=%condition, body=%body
}
"""


def test_a_loop_as_tpus_write_it():
    assert collective_bytes(TPU) == {"all-gather": 5 * 1024 * 64 * 2 * 3 / 4}


@pytest.fixture(scope="module")
def programs():
    return {row["name"]: row for row in rows_of("tests.parallel.traffic_on_devices")}


@pytest.mark.parametrize(
    "name", ["all-gather", "reduce-scatter", "all-reduce", "all-to-all", "collective-permute", "loop"]
)
def test_what_is_sent_is_what_has_to_be(programs, name):
    row = programs[name]
    assert row["counted"] == pytest.approx(row["expected"])
