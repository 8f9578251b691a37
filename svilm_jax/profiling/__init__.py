"""Accounting of compute, memory and traffic: model FLOPs, device specifications, ahead-of-time plans, throughput."""
