// CRC-32C (Castagnoli, polynomial 0x1EDC6F41, reflected), as TFRecord files use it.
#pragma once

#include <cstdint>
#include <string_view>

namespace thinwire::trainer {

std::uint32_t crc32c(std::string_view bytes);

// The form stored in files: rotated and shifted, so that a CRC over bytes that hold CRCs stays a good one.
inline std::uint32_t masked_crc32c(std::string_view bytes) {
  const std::uint32_t crc = crc32c(bytes);
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

}  // namespace thinwire::trainer
