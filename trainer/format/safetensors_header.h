// The header of a safetensors file: which tensors lie where. Knows bytes, no tensors.
//
// Format (https://huggingface.co/docs/safetensors): 8 bytes little-endian length of the header; the header, a
// JSON object {"name": {"dtype", "shape", "data_offsets": [begin, end)}, ..., "__metadata__": {"key":
// "text"}}, padded with spaces; then the data, which the tensors cover without hole or overlap. Offsets count
// from the data's start.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace thinwire::trainer {

struct SafetensorsEntry {
  std::string name;
  std::string dtype;  // one of safetensors_item_bytes()
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // in the order of their data
  std::map<std::string, std::string> metadata;
  std::uint64_t data_bytes = 0;
};

// What a tensor is, without its values and its place.
struct TensorSpec {
  std::string dtype;
  std::vector<std::int64_t> shape;
  bool operator==(const TensorSpec&) const = default;
};

// By name.
std::map<std::string, TensorSpec> specs_of(const SafetensorsHeader& header);

// A longer header is refused before it is read: this is room for some hundred thousand tensors.
inline constexpr std::uint64_t kMaxSafetensorsHeaderBytes = 16 << 20;
inline constexpr std::size_t kMaxSafetensorsDimensions = 64;

// Bytes of one value; 0 for a dtype that is not known.
// BOOL U8 I8 F8_E5M2 F8_E4M3 I16 U16 F16 BF16 I32 U32 F32 F64 I64 U64
std::uint64_t safetensors_item_bytes(std::string_view dtype);

// json: the header without its length, of any content. data_bytes: what follows it in the file.
// Throws std::runtime_error that says what was expected and what was found, without the file's name. Refused:
// other keys or types than the format's, a key twice, an unknown dtype, shape x dtype beyond 63 bits or
// another size than the offsets give, overlaps, holes, bytes that belong to no tensor.
SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t data_bytes);

// Sets offsets and data_bytes of `header` from dtypes and shapes and returns the file's bytes up to the data.
// Order as in the format's own library: widest dtype first, then by name, so that every tensor is aligned.
// Throws std::runtime_error for names and shapes that parse_safetensors_header would refuse.
std::string layout_safetensors(SafetensorsHeader& header);

}  // namespace thinwire::trainer
