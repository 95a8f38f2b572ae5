"""The network for other runtimes: one hop as an ONNX file or a torch program, and a talker that runs such an ONNX file.

``graph`` traces the step and describes it, ``onnx`` and ``program`` write it, ``check`` compares what was written with the
network, ``onnx_model`` runs an ONNX file in place of the network.
"""
