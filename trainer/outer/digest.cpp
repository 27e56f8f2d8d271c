#include "trainer/outer/digest.h"

#include <xxhash.h>

#include "trainer/format/file_io.h"

namespace thinwire::trainer {

std::string digest_of(const std::vector<std::span<const float>>& spans) {
  RunningHash hash;
  for (const auto& span : spans) hash.add(span.data(), span.size_bytes());
  return hash.hex();
}

std::uint64_t short_digest_of(const std::vector<std::string>& parts) {
  std::string whole;
  for (const std::string& part : parts) whole += part;
  return XXH3_64bits(whole.data(), whole.size());
}

}  // namespace thinwire::trainer
