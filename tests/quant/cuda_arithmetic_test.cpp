// The bodies of the CUDA kernels, compiled as host code and run in ordinary loops, against the scalar
// reference and the outer loop's arithmetic, bit by bit. What only a device can show is in cuda_gpu_test.cpp.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "quant/codec/error_feedback.h"
#include "quant/codec/int_rule.h"
#include "quant/codec/minifloat_rule.h"
#include "quant/codec/sign_rule.h"
#include "quant/kernel/cuda/block_kernels.h"
#include "quant/kernel/target.h"
#include "tests/quant/codec_case.h"
#include "tests/quant/sample_values.h"

namespace thinwire::quant::cuda {
namespace {

using testing::awkward_values;
using testing::bits_of;
using testing::normal_values;

// Calls `use` with the rule of a format's kernels.
template <class Use>
void with_rule(const std::string& name, Use use) {
  if (name == "int8") return use(IntRule<8>());
  if (name == "int4") return use(IntRule<4>());
  if (name == "int2") return use(Int2Rule());
  if (name == "e3m0") return use(E3m0Rule());
  if (name == "sign") return use(SignRule());
  FAIL() << name;
}

// The kernels ask for payloads on multiples of 4 bytes, as any vector's are.
struct Encoded {
  std::vector<std::byte> code;
  bool met_nan = false;
};

template <class Source, class Keep>
Encoded encode_as_kernel(const Codec& codec, std::size_t n, std::uint64_t key, Source source, Keep keep) {
  Encoded result{std::vector<std::byte>(codec.encoded_bytes(n), std::byte{0xa5})};
  const Layout layout{n, codec.block()};
  with_rule(std::string(codec.name()), [&](auto rule) {
    for (std::size_t b = 0; b < layout.num_blocks(); ++b) {
      result.met_nan |= encode_block<decltype(rule)>(
          SerialTeam(), layout, b, source, EncodeStream{codec.rounding(), key}, result.code.data(), keep);
    }
  });
  return result;
}

std::vector<float> decode_as_kernel(const Codec& codec, const std::vector<std::byte>& code, std::size_t n) {
  std::vector<float> values(n);
  with_rule(std::string(codec.name()), [&](auto rule) {
    for (std::size_t i = 0; i < n; ++i) {
      values[i] = decoded<decltype(rule)>(Layout{n, codec.block()}, code.data(), i);
    }
  });
  return values;
}

std::vector<CodecOptions> kernel_cases() {
  std::vector<CodecOptions> cases;
  for (const char* name : {"int8", "int4", "int2", "e3m0", "sign"}) {
    for (const Rounding rounding : {Rounding::kNearest, Rounding::kStochastic}) {
      for (const std::size_t block : {8, 24, 160, 256, 8192}) cases.push_back({name, block, rounding});
    }
  }
  return cases;
}

class CudaArithmetic : public ::testing::TestWithParam<CodecOptions> {
 protected:
  std::unique_ptr<Codec> make_reference() const {
    const ForcedTarget guard(Target::kScalar);
    return make_codec(GetParam());
  }

  const std::unique_ptr<Codec> reference = make_reference();
  const std::size_t block = GetParam().block;
  const std::vector<std::size_t> lengths = {0,   1, 7, 8, 9, block - 1, block + 1, 3 * block, 3 * block + 13,
                                            7919};
};

INSTANTIATE_TEST_SUITE_P(Codecs, CudaArithmetic, ::testing::ValuesIn(kernel_cases()), testing::case_name);

TEST_P(CudaArithmetic, EncodesTheBytesOfTheReference) {
  for (const std::size_t n : lengths) {
    for (const std::vector<float>& values : {normal_values(n, n), awkward_values(n, n),
                                             std::vector<float>(n, -0.7f), std::vector<float>(n, -0.0f)}) {
      const Encoded kernel = encode_as_kernel(*reference, n, 99 + n, Values{values.data()}, KeepNothing());
      ASSERT_EQ(kernel.code, testing::encode(*reference, values, 99 + n)) << "n " << n;
      ASSERT_FALSE(kernel.met_nan) << "n " << n;
    }
  }
}

// Quotients on and beside the borders between levels, for scales of any mantissa.
TEST_P(CudaArithmetic, EncodesNeighboursOfBordersAsTheReference) {
  std::mt19937_64 generator(7);
  std::vector<float> values;
  for (const int exponent : {-120, -60, 0, 30, 90}) {
    for (const float top : {1.0f, 3.0f, 7.0f, 64.0f, 127.0f}) {
      const float scale = std::ldexp(1.0f + static_cast<float>(generator() % 65536) / 65536, exponent);
      values.push_back(top * scale);
      while (values.size() % block != 0) {
        const float border = static_cast<float>(generator() % static_cast<std::uint64_t>(4 * top)) / 4;
        float value = border * scale;
        for (std::uint64_t ulps = generator() % 4; ulps > 0; --ulps) {
          value = std::nextafter(value, generator() % 2 == 0 ? 0.0f : top * scale);
        }
        values.push_back(generator() % 2 == 0 ? value : -value);
      }
    }
  }
  const Encoded kernel = encode_as_kernel(*reference, values.size(), 3, Values{values.data()}, KeepNothing());
  ASSERT_EQ(kernel.code, testing::encode(*reference, values, 3));
}

TEST_P(CudaArithmetic, DecodesAnyBytesAsTheReference) {
  std::mt19937_64 generator(5);
  for (const std::size_t n : lengths) {
    std::vector<std::byte> random(reference->encoded_bytes(n));
    for (std::byte& byte : random) byte = static_cast<std::byte>(generator() % 250);  // few scales are NaN
    for (const auto& code : {random, testing::encode(*reference, awkward_values(n, n + 1))}) {
      const std::vector<float> expected = testing::decode(*reference, code, n);
      const std::vector<float> found = decode_as_kernel(*reference, code, n);
      for (std::size_t i = 0; i < n; ++i) {
        if (std::isnan(expected[i]) && std::isnan(found[i]))
          continue;  // its payload is not part of the format
        ASSERT_EQ(bits_of({&found[i], 1}), bits_of({&expected[i], 1})) << "n " << n << " i " << i;
      }
    }
  }
}

TEST_P(CudaArithmetic, TakesDeltaResidualAndCodeInOneSweep) {
  for (const std::size_t n : lengths) {
    for (const float decay : {1.0f, 0.9f}) {
      const std::vector<float> agreed = normal_values(n, 1), local = normal_values(n, 2);
      ErrorFeedback feedback(*reference, n, decay);
      std::vector<float> residual = normal_values(n, 3, 0.1f);
      std::copy(residual.begin(), residual.end(), feedback.residual().begin());
      std::vector<float> delta(n);
      outer_delta(agreed, local, delta);
      std::vector<std::byte> expected(reference->encoded_bytes(n));
      feedback.encode(delta, 5, expected);

      const Delta source{agreed.data(), local.data(), residual.data(), decay};
      const Encoded kernel = encode_as_kernel(*reference, n, 5, source, KeepResidual{residual.data()});
      ASSERT_EQ(kernel.code, expected) << "n " << n;
      ASSERT_EQ(bits_of(residual), bits_of(feedback.residual())) << "n " << n;
    }
  }
}

TEST_P(CudaArithmetic, TakesThePlainDeltaWithoutErrorFeedback) {
  const std::size_t n = 3 * block + 13;
  const std::vector<float> agreed = normal_values(n, 1), local = normal_values(n, 2);
  std::vector<float> delta(n);
  outer_delta(agreed, local, delta);
  const Encoded kernel = encode_as_kernel(*reference, n, 5, Delta{agreed.data(), local.data(), nullptr, 1},
                                          KeepResidual{nullptr});
  EXPECT_EQ(kernel.code, testing::encode(*reference, delta, 5));
}

TEST_P(CudaArithmetic, CommitsAsTheOuterLoopDoes) {
  for (const unsigned workers : {1u, 2u, 3u, 5u}) {
    for (const float alpha : {0.0f, 0.3f}) {
      const std::size_t n = 3 * block + 13;
      std::vector<float> momentum = normal_values(n, 4), agreed = normal_values(n, 5),
                         local = normal_values(n, 6);
      std::vector<std::vector<std::byte>> payloads;
      for (unsigned r = 0; r < workers; ++r) {
        payloads.push_back(testing::encode(*reference, awkward_values(n, 10 + r), r));
      }
      std::vector<float> expected_momentum = momentum, expected_agreed = agreed, expected_local = local;
      std::vector<float> mean = testing::decode(*reference, payloads[0], n);
      for (unsigned r = 1; r < workers; ++r) reference->decode_add(payloads[r], mean);
      divide_in_place(mean, static_cast<float>(workers));
      const NesterovRule rule{.lr = 0.6f, .momentum = 0.8f};
      nesterov_step(rule, mean, expected_momentum, expected_agreed);
      merge_into_local(alpha, expected_agreed, expected_local);

      std::vector<const std::byte*> addresses;
      for (const auto& payload : payloads) addresses.push_back(payload.data());
      const OuterSpans spans{momentum.data(), agreed.data(), local.data()};
      with_rule(GetParam().name, [&](auto rule_of_format) {
        for (std::size_t i = 0; i < n; ++i) {
          commit_value<decltype(rule_of_format)>(Layout{n, block}, addresses, workers, rule, alpha, spans, i);
        }
      });
      ASSERT_EQ(bits_of(momentum), bits_of(expected_momentum)) << workers << " workers";
      ASSERT_EQ(bits_of(agreed), bits_of(expected_agreed)) << workers << " workers";
      ASSERT_EQ(bits_of(local), bits_of(expected_local)) << workers << " workers, alpha " << alpha;
    }
  }
}

TEST_P(CudaArithmetic, NoticesANaNWhereverItIs) {
  const std::size_t n = 2 * block + 3;
  for (const std::size_t at : {std::size_t{0}, block - 1, block, n - 1}) {
    std::vector<float> values = normal_values(n, 6);
    values[at] = -std::nanf("");
    EXPECT_TRUE(encode_as_kernel(*reference, n, 1, Values{values.data()}, KeepNothing()).met_nan) << at;
  }
}

}  // namespace
}  // namespace thinwire::quant::cuda
