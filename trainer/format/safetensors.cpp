#include "trainer/format/safetensors.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

namespace thinwire::trainer {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

constexpr std::uint64_t kLengthBytes = 8;

struct DtypeName {
  std::string_view name;
  at::ScalarType type;
};

constexpr std::array<DtypeName, 15> kDtypes = {{{"BOOL", at::kBool},
                                                {"U8", at::kByte},
                                                {"I8", at::kChar},
                                                {"F8_E5M2", at::kFloat8_e5m2},
                                                {"F8_E4M3", at::kFloat8_e4m3fn},
                                                {"I16", at::kShort},
                                                {"U16", at::kUInt16},
                                                {"F16", at::kHalf},
                                                {"BF16", at::kBFloat16},
                                                {"I32", at::kInt},
                                                {"U32", at::kUInt32},
                                                {"F32", at::kFloat},
                                                {"F64", at::kDouble},
                                                {"I64", at::kLong},
                                                {"U64", at::kUInt64}}};

at::ScalarType type_of(std::string_view name) {
  for (const DtypeName& dtype : kDtypes) {
    if (dtype.name == name) return dtype.type;
  }
  throw std::runtime_error(fmt::format("unknown dtype '{}'", name));
}

std::string name_of(at::ScalarType type, const std::string& tensor) {
  for (const DtypeName& dtype : kDtypes) {
    if (dtype.type == type) return std::string(dtype.name);
  }
  throw std::runtime_error(
      fmt::format("tensor '{}': safetensors has no dtype {}", tensor, c10::toString(type)));
}

struct OpenFile {
  InputFile file;
  SafetensorsHeader header;
  std::uint64_t data_start;
};

OpenFile open_safetensors(const std::string& path) {
  InputFile file(path);
  if (file.size() < kLengthBytes) {
    throw std::runtime_error(
        fmt::format("{}: expected 8 bytes of header length, the file has {}", path, file.size()));
  }
  std::uint64_t header_bytes = 0;
  file.read_at(0, &header_bytes, kLengthBytes);
  const std::uint64_t limit = std::min(kMaxSafetensorsHeaderBytes, file.size() - kLengthBytes);
  if (header_bytes > limit) {
    throw std::runtime_error(fmt::format(
        "{}: expected a header of at most {} bytes (the file has {}, our limit is {}), found a length of {}",
        path, limit, file.size(), kMaxSafetensorsHeaderBytes, header_bytes));
  }
  std::string text(header_bytes, '\0');
  file.read_at(kLengthBytes, text.data(), text.size());
  const std::uint64_t data_start = kLengthBytes + header_bytes;
  try {
    SafetensorsHeader header = parse_safetensors_header(text, file.size() - data_start);
    return {std::move(file), std::move(header), data_start};
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(path + ": " + error.what());
  }
}

at::Tensor read_tensor(const OpenFile& open, const SafetensorsEntry& entry) {
  // LibTorch's own allocator: 64-byte alignment, on which equal bits after a resume rest.
  at::Tensor tensor = at::empty(entry.shape, at::TensorOptions(type_of(entry.dtype)));
  auto* bytes = static_cast<std::uint8_t*>(tensor.data_ptr());
  open.file.read_at(open.data_start + entry.begin, bytes, tensor.nbytes());
  if (tensor.scalar_type() == at::kBool) {
    const auto* bad = std::find_if(bytes, bytes + tensor.nbytes(), [](std::uint8_t b) { return b > 1; });
    if (bad != bytes + tensor.nbytes()) {
      throw std::runtime_error(fmt::format("{}: tensor '{}': expected booleans 0 or 1, found {} at index {}",
                                           open.file.path(), entry.name, *bad, bad - bytes));
    }
  }
  return tensor;
}

// What comes before the data, and where each tensor goes.
struct Layout {
  SafetensorsHeader header;
  std::string head;
};

Layout layout_of(const SafetensorsFile& file) {
  Layout layout;
  layout.header.metadata = file.metadata;
  for (const auto& [name, spec] : specs_of(file.tensors)) {
    layout.header.entries.push_back({name, spec.dtype, spec.shape, 0, 0});
  }
  layout.head = layout_safetensors(layout.header);
  return layout;
}

// Writes to a file of a known size and tells when its half has been passed.
class HalfwayWriter {
 public:
  HalfwayWriter(OutputFile& file, std::uint64_t total, const std::function<void()>& half_written)
      : file_(file), before_half_(total / 2), half_written_(half_written) {}

  void write(std::string_view bytes) {
    const std::size_t head = std::min<std::uint64_t>(bytes.size(), before_half_);
    file_.write(bytes.substr(0, head));
    before_half_ -= head;
    if (before_half_ == 0 && half_written_) std::exchange(half_written_, nullptr)();
    file_.write(bytes.substr(head));
  }

 private:
  OutputFile& file_;  // outlives this object, a local of write_laid_out
  std::uint64_t before_half_;
  std::function<void()> half_written_;
};

void write_laid_out(OutputFile& output, const Layout& layout, const SafetensorsFile& file,
                    const std::function<void()>& half_written) {
  HalfwayWriter writer(output, layout.head.size() + layout.header.data_bytes, half_written);
  writer.write(layout.head);
  for (const SafetensorsEntry& entry : layout.header.entries) {
    const at::Tensor tensor = file.tensors.at(entry.name).detach().cpu().contiguous();
    writer.write({static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()});
  }
}

}  // namespace

std::map<std::string, TensorSpec> specs_of(const NamedTensors& tensors) {
  std::map<std::string, TensorSpec> specs;
  for (const auto& [name, tensor] : tensors)
    specs[name] = {name_of(tensor.scalar_type(), name), tensor.sizes().vec()};
  return specs;
}

SafetensorsHeader read_safetensors_header(const std::string& path) {
  return open_safetensors(path).header;
}

SafetensorsFile read_safetensors(const std::string& path) {
  const OpenFile open = open_safetensors(path);
  SafetensorsFile result;
  result.metadata = open.header.metadata;
  for (const SafetensorsEntry& entry : open.header.entries) {
    result.tensors[entry.name] = read_tensor(open, entry);
  }
  return result;
}

FileDigest write_safetensors(const std::string& path, const SafetensorsFile& file,
                             const std::function<void()>& half_written) {
  const Layout layout = layout_of(file);
  OutputFile output(path);
  write_laid_out(output, layout, file, half_written);
  output.sync();
  return output.digest();
}

void write_safetensors(OutputFile& output, const SafetensorsFile& file) {
  write_laid_out(output, layout_of(file), file, nullptr);
}

}  // namespace thinwire::trainer
