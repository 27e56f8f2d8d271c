#include "trainer/outer/digest.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <memory>

namespace thinwire::trainer {
namespace {

using HashState = std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)>;

HashState make_state() {
  return {XXH3_createState(), &XXH3_freeState};
}

}  // namespace

std::string digest_of(const std::vector<std::span<const float>>& spans) {
  HashState state = make_state();
  XXH3_128bits_reset(state.get());
  for (const auto& span : spans) XXH3_128bits_update(state.get(), span.data(), span.size_bytes());
  const XXH128_hash_t hash = XXH3_128bits_digest(state.get());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::uint64_t short_digest_of(const std::vector<std::string>& parts) {
  HashState state = make_state();
  XXH3_64bits_reset(state.get());
  for (const std::string& part : parts) XXH3_64bits_update(state.get(), part.data(), part.size());
  return XXH3_64bits_digest(state.get());
}

}  // namespace thinwire::trainer
