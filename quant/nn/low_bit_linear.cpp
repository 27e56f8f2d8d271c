#include "quant/nn/low_bit_linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "quant/codec/packing.h"

namespace thinwire::quant {
namespace {

// One row of codes, one byte each, and the same row packed.
template <unsigned kBits>
struct RowPacking {
  static std::int64_t bytes(std::int64_t columns) {
    return static_cast<std::int64_t>(BitPacking<kBits>::bytes(static_cast<std::size_t>(columns)));
  }
  // packed: zeroed.
  static void pack(const std::uint8_t* codes, std::size_t columns, std::uint8_t* packed) {
    auto* bytes = reinterpret_cast<std::byte*>(packed);
    for (std::size_t i = 0; i < columns; ++i) BitPacking<kBits>::put(bytes, columns, i, codes[i]);
  }
  static void unpack(const std::uint8_t* packed, std::size_t columns, std::uint8_t* codes) {
    const auto* bytes = reinterpret_cast<const std::byte*>(packed);
    for (std::size_t i = 0; i < columns; ++i) {
      codes[i] = static_cast<std::uint8_t>(BitPacking<kBits>::get(bytes, columns, i));
    }
  }
};

template <typename Use>
at::Tensor with_bits(int bits, const Use& use) {
  switch (bits) {
    case 1:
      return use(RowPacking<1>());
    case 2:
      return use(RowPacking<2>());
    case 4:
      return use(RowPacking<4>());
    case 8:
      return use(RowPacking<8>());
    default:
      TORCH_CHECK_VALUE(false, "packed codes have 1, 2, 4 or 8 bits; found ", bits);
  }
}

}  // namespace

at::Tensor pack_rows(const at::Tensor& codes, int bits) {
  TORCH_CHECK(codes.dim() == 2, "pack_rows expects [rows, columns], found ", codes.sizes());
  const at::Tensor source = codes.to(at::kCPU, at::kByte).contiguous();
  const std::int64_t rows = codes.size(0), columns = codes.size(1);
  return with_bits(bits, [&](auto packing) {
    const std::int64_t bytes = packing.bytes(columns);
    at::Tensor packed = at::zeros({rows, bytes}, at::kByte);
    for (std::int64_t row = 0; row < rows; ++row) {
      packing.pack(source.const_data_ptr<std::uint8_t>() + row * columns, static_cast<std::size_t>(columns),
                   packed.data_ptr<std::uint8_t>() + row * bytes);
    }
    return packed;
  });
}

at::Tensor unpack_rows(const at::Tensor& packed, int bits, std::int64_t columns) {
  return with_bits(bits, [&](auto packing) {
    const std::int64_t bytes = packing.bytes(columns);
    TORCH_CHECK(packed.dim() == 2 && packed.size(1) == bytes && packed.scalar_type() == at::kByte &&
                    packed.is_contiguous(),
                "unpack_rows expects contiguous uint8 [rows, ", bytes, "], found ", packed.scalar_type(), " ",
                packed.sizes());
    at::Tensor codes = at::empty({packed.size(0), columns}, at::kByte);
    for (std::int64_t row = 0; row < packed.size(0); ++row) {
      packing.unpack(packed.const_data_ptr<std::uint8_t>() + row * bytes, static_cast<std::size_t>(columns),
                     codes.data_ptr<std::uint8_t>() + row * columns);
    }
    return codes;
  });
}

}  // namespace thinwire::quant
