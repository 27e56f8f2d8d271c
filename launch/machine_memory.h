// How much memory new processes can take on this machine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace thinwire::launch {

// Bytes that can be taken before the kernel ends a process: free and reclaimable memory with free swap, or
// what the control groups around this process leave of their limits, where that is less. root: where /proc
// and /sys are looked for. Nothing where the kernel does not say.
std::optional<std::uint64_t> available_memory(const std::string& root = "");

}  // namespace thinwire::launch
