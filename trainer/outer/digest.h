// Digests of agreed state: XXH3 over the bytes of float32 spans, in the order given.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace thinwire::trainer {

// XXH3-128 in hex over the concatenation.
std::string digest_of(const std::vector<std::span<const float>>& spans);

// XXH3-64 over the concatenation of strings; what rides in payload headers.
std::uint64_t short_digest_of(const std::vector<std::string>& parts);

}  // namespace thinwire::trainer
