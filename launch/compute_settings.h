// Settings of the linear algebra that a run's bits and idle cost hang on.
#pragma once

namespace thinwire::launch {

// Asks MKL for its reproducible mode: the same instruction set's kernels give the same bits in every run. To
// be called before the first matrix product; a value that the user set stays.
void settle_arithmetic();

// threads: of one product in this process; idle ones sleep. Operators do not run beside each other. To be
// called on every thread that computes.
void settle_threads(int threads);

}  // namespace thinwire::launch
