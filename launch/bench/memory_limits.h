// What memory allows one thread: loops that do nothing but read or change float32 values, in the widest
// vectors of the processor. Each comes in two forms, and the limit is the faster: whether it pays to ask for
// lines ahead of time depends on the machine.
#pragma once

#include <span>

namespace thinwire::launch {

enum class Prefetch { kNone, kAhead };

// A number that depends on every value.
float read_all(std::span<const float> values, Prefetch prefetch);

// a = b + a / 2 in place: the numbers stay where they are. Of one size.
void triad(std::span<const float> b, std::span<float> a, Prefetch prefetch);

}  // namespace thinwire::launch
