// What TCP over this machine's loopback gives at best: the limit of a collective between its processes.
#pragma once

#include <cstddef>

namespace thinwire::launch {

// Mean seconds in which two threads exchange `bytes` bytes each way over one connection, `count` times.
// Throws std::system_error.
double loopback_exchange_seconds(std::size_t bytes, int count);

}  // namespace thinwire::launch
