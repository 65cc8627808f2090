"""Loops, communication and memory of HLO texts with known answers."""

import types

from distill_jax.devices import size
from distill_jax.dry_run import compiled_program, hlo_program

PROGRAM = """\
HloModule jit_step, is_scheduled=true, entry_computation_layout={()->f32[]}, num_partitions=8

FileNames
1 "a {strange} name"

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%all-reduce-scatter.1 (input: f32[64,8]) -> f32[64,1] {
  %input = f32[64,8]{1,0} parameter(0)
  %all-reduce.7 = f32[64,8]{1,0} all-reduce(%input), replica_groups={{0,1,2,3,4,5,6,7}}, \
to_apply=%add
  ROOT %slice = f32[64,1]{1,0} dynamic-slice(%all-reduce.7, %c), dynamic_slice_sizes={64,1}
}

%begin (p: bf16[4,8]) -> (bf16[4,8], bf16[32,8]) {
  %p = bf16[4,8]{1,0:T(8,128)(2,1)S(1)} parameter(0)
  %all-gather.1 = bf16[32,8]{1,0:T(8,128)(2,1)} all-gather(%p), \
replica_groups=mesh['axis_0'=8,'axis_1'=1], device_ids=([8]T(0)) {'axis_0'}, dimensions={0}, \
backend_config={"async_collective_fusion_config":{"flag_start":"-1"}}
  ROOT %start = (bf16[4,8], bf16[32,8]) custom-call(%all-gather.1), \
custom_call_target="AsyncCollectiveStart"
}

%async_collective_fusion.2 (p2: bf16[4,8]) -> bf16[32,8] {
  %p2 = bf16[4,8]{1,0} parameter(0)
  ROOT %all-gather.2 = bf16[32,8]{1,0} all-gather(%p2), replica_groups=[1,8]<=[8], \
dimensions={0}, backend_config={"async_collective_fusion_config":{"flag_start":"2"}}
}

%test (t: (u32[], f32[16])) -> pred[] {
  %four = u32[] constant(4)
  %t = (u32[], f32[16]) parameter(0)
  %i = u32[] get-tuple-element(%t), index=0
  ROOT %less = pred[] compare(%i, %four), direction=LT
}

%ring (t.1: (u32[], f32[16])) -> (u32[], f32[16]) {
  %two = u32[] constant(2)
  %t.1 = (u32[], /*index=1*/f32[16]) parameter(0)
  %i.1 = u32[] get-tuple-element(%t.1), index=0
  %v = f32[16]{0} get-tuple-element(%t.1), index=1
  %send = (f32[16]{0}, f32[16]{0}, u32[], u32[]) collective-permute-start(%v), \
source_target_pairs={{0,1},{1,0}}
  %sent = f32[16]{0} collective-permute-done(%send)
  %next = u32[] add(%i.1, %two)
  ROOT %out = (u32[], f32[16]) tuple(%next, %sent)
}

%unknown_test (t.2: (s32[], s32[])) -> pred[] {
  %t.2 = (s32[], s32[]) parameter(0)
  %i.2 = s32[] get-tuple-element(%t.2), index=0
  %n.2 = s32[] get-tuple-element(%t.2), index=1
  ROOT %less.2 = pred[] compare(%i.2, %n.2), direction=LT
}

%unknown_body (t.3: (s32[], s32[])) -> (s32[], s32[]) {
  %t.3 = (s32[], s32[]) parameter(0)
  %i.3 = s32[] get-tuple-element(%t.3), index=0
  %n.3 = s32[] get-tuple-element(%t.3), index=1
  %pair = (f32[], f32[10]{0}) all-reduce(%i.3, %n.3), replica_groups={{0,1},{2,3},{4,5},{6,7}}, \
to_apply=%add
  ROOT %out.3 = (s32[], s32[]) tuple(%i.3, %n.3)
}

%noted_body (t.4: (s32[], s32[])) -> (s32[], s32[]) {
  %t.4 = (s32[], s32[]) parameter(0)
  ROOT %inner = (s32[], s32[]) while(%t.4), condition=%unknown_test, body=%unknown_body, \
metadata={op_name="jit(step)/while/body/shard_map/while"}
}

ENTRY %main (a: f32[4,8]) -> f32[] {
  %a = f32[4,8]{1,0} parameter(0)
  %zero = u32[] constant(0)
  %copied = u32[] copy(%zero)
  %kernel = f32[16]{0} custom-call(%a), custom_call_target="k", backend_config={{
"several": "lines"
}}, metadata={op_name="jit(step)/kernel"}
  %loop = (u32[], f32[16]) tuple(%copied, %kernel)
  %rings.0 = (u32[], f32[16]) while(%loop), condition=%test, body=%ring, \
metadata={op_name="jit(step)/h_0/dot"}
  %rings.1 = (u32[], f32[16]) while(%loop), condition=%test, body=%ring, \
metadata={op_name="jit(step)/h_1/dot"}
  %counts = (s32[], s32[]) tuple(%x1, %x2)
  %scan = (s32[], s32[]) while(%counts), condition=%unknown_test, body=%noted_body, \
metadata={op_name="jit(step)/while"}, backend_config={"known_trip_count":{"n":"3"}}
  %f.1 = (bf16[4,8], bf16[32,8]) fusion(%a), kind=kCustom, calls=%begin
  %f.2 = bf16[32,8] fusion(%f.1), kind=kCustom, calls=%async_collective_fusion.2
  %f.3 = f32[64,1] fusion(%a), kind=kCustom, calls=%all-reduce-scatter.1
  %rs = f32[2,8]{1,0} reduce-scatter(%a), replica_groups=[2,4]<=[4,2]T(1,0), dimensions={0}, \
to_apply=%add
  %ags = (f32[4,8], f32[8,8]) all-gather-start(%a), replica_groups={{0,4},{1,5},{2,6},{3,7}}
  %agd = f32[8,8] all-gather-done(%ags)
  %a2a = (s32[8], s32[8]) all-to-all(%x1, %x2), replica_groups={{0,1},{2,3},{4,5},{6,7}}
  ROOT %all = f32[] all-reduce(%zero), replica_groups={}, to_apply=%add
}
"""


def test_collectives_of_a_known_program():
    groups = compiled_program.collectives(hlo_program.parse(PROGRAM), {"shard_map/while": 5})
    found = [tuple(group.values()) for group in groups]
    inner = "while > while/body/shard_map/while"
    assert found == [
        # kind, loop, trips, most, count, bytes, sent
        ("all-reduce", "", 1, 1, 1, 4, 7),  # all 8 devices: 2 x 7/8 x 4 bytes
        ("all-reduce", inner, None, 15, 1, 44, 44),
        # 32 x 8 bfloat16, its second part not counted again; and 8 x 8 float32
        ("all-gather", "", 1, 1, 2, 512 + 256, 448 + 128),
        # 2 x 8 float32 of 4 devices, and 64 x 8 float32 of 8 devices
        ("reduce-scatter", "", 1, 1, 2, 256 + 2048, 192 + 1792),
        ("all-to-all", "", 1, 1, 1, 64, 32),
        ("collective-permute", "h_*/dot", 2, 2, 2, 128, 128),  # two loops, 0 2 | 4
    ]
    totals = compiled_program.totals(groups)
    assert not totals["exact"]
    assert totals["kinds"]["all-reduce"] == {"count": 16, "bytes": 664, "sent": 667}
    assert totals["kinds"]["collective-permute"] == {"count": 4, "bytes": 256, "sent": 256}


def test_loops_of_a_known_program():
    program = hlo_program.parse(PROGRAM)
    assert [tuple(loop.values()) for loop in compiled_program.loops(program, {})] == [
        ("h_*/dot", 2, 2, 2),
        ("while", 3, 3, 1),
        ("while > while/body/shard_map/while", None, None, 1),
    ]
    # A loop of unknown length without a bound counts once.
    totals = compiled_program.totals(compiled_program.collectives(program, {}))
    assert totals["kinds"]["all-reduce"]["count"] == 2


def test_shapes_memory_and_messages():
    assert hlo_program.shape_bytes("(f32[2,3]{1,0:T(8,128)S(1)}, s32[], pred[7], bf16[])") == 37
    assert hlo_program.shape_bytes("f8e4m3fn[10]") == 10
    analysis = types.SimpleNamespace(
        argument_size_in_bytes=100, output_size_in_bytes=90, alias_size_in_bytes=80,
        temp_size_in_bytes=1000, generated_code_size_in_bytes=5,
    )  # fmt: skip
    assert compiled_program.memory(analysis)["peak"] == 100 + 10 + 1000 + 5
    message = "RESOURCE_EXHAUSTED: Ran out of memory. Used 21.5G of 15.75G hbm. Exceeded by 5.71G."
    assert compiled_program.needed_memory(message) == round(21.5 * 2**30)
    message = "memory required for HLO temporaries (24.00G) exceeds available HBM (15.75G)."
    assert compiled_program.needed_memory(message) == 24 << 30
    assert compiled_program.needed_memory("RESOURCE_EXHAUSTED") is None
    assert [size(n) for n in (3, 2048, 5 << 30)] == ["3 B", "2 KiB", "5 GiB"]


def test_the_condition_of_a_loop_communicates_too():
    text = """\
HloModule jit_f, num_partitions=4

%test (t: (s32[], s32[2])) -> pred[] {
  %t = (s32[], s32[2]) parameter(0)
  %n = s32[] get-tuple-element(%t), index=0
  %all = s32[] all-reduce(%n), replica_groups={{0,1,2,3}}, to_apply=%add
  ROOT %less = pred[] compare(%all, %n), direction=LT
}

%body (u: (s32[], s32[2])) -> (s32[], s32[2]) {
  ROOT %u = (s32[], s32[2]) parameter(0)
}

ENTRY %main (p: (s32[], s32[2])) -> (s32[], s32[2]) {
  %p = (s32[], s32[2]) parameter(0)
  ROOT %loop = (s32[], s32[2]) while(%p), condition=%test, body=%body, \
metadata={op_name="jit(f)/while"}
}
"""
    (group,) = compiled_program.collectives(hlo_program.parse(text), {"while": 1})
    assert (group["kind"], group["loop"], group["trips"], group["most_trips"]) == (
        "all-reduce", "while", None, 1,
    )  # fmt: skip
    assert (group["bytes"], group["sent"]) == (4, 6)
