"""The network for other runtimes: one hop as an ONNX file or a torch program, and a talker that
runs such an ONNX file.

``graph`` traces the step and describes it, ``onnx`` and ``program`` write it, ``writing`` puts it
all together, ``check`` compares what was written with the network, ``onnx_model`` runs an ONNX file
in place of the network.

To run a file elsewhere, in any language with an ONNX runtime:

1. Make every input named ``state.*`` zero, of the shape and type that the graph gives; then
   overwrite those listed in the
   metadata entry ``initial_state`` (JSON: name without ``state.`` -> the numbers of one stream).
2. For each hop of 16 kHz mono sound in -1..1 (``samples``, 640 numbers at 25 frames a second) run
   the graph once. ``weights``
   is the motion frame ``delay_frames`` hops back, on the shape names in ``names``; clip it to 0..1.
   The first
   ``delay_frames`` results belong to no frame.
3. Give every output ``next.*`` to the input ``state.*`` of the same name at the next hop. A copy of
   these tensors is a
   conversation that can be taken up again later.
"""
