# SPDX-License-Identifier: GPL-2.0
"""The lab: emulated hosts with stock kernels, real KVM and the real module."""
