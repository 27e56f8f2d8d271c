// safetensors, read and written by hand: no C++ library for it is packaged. Files are foreign input: the header is
// capped, and overlaps, holes, duplicates, overflowing shapes and trailing bytes are refused by name.
// Format: 8 bytes little-endian header length, JSON header, data.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace thinwire::trainer {

using NamedTensors = std::map<std::string, at::Tensor>;

struct SafetensorsFile {
  NamedTensors tensors;                         // CPU, own memory, 64-byte aligned
  std::map<std::string, std::string> metadata;  // __metadata__
};

// Throws std::runtime_error with the file's name, what was expected and what was found.
SafetensorsFile read_safetensors(const std::string& path);

// Writes and syncs. Throws std::system_error with the errno of what failed (ENOSPC when the disk is full).
void write_safetensors(const std::string& path, const SafetensorsFile& file);

}  // namespace thinwire::trainer
