// The CUDA kernels on a device, against the scalar reference and the outer loop's arithmetic, bit by bit.
// Skips where there is no device.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "quant/codec/error_feedback.h"
#include "quant/kernel/cuda/cuda_codec.h"
#include "quant/kernel/target.h"
#include "tests/quant/codec_case.h"
#include "tests/quant/sample_values.h"

namespace thinwire::quant::cuda {
namespace {

using testing::awkward_values;
using testing::bits_of;
using testing::normal_values;

template <class T>
DeviceBuffer on_device(const std::vector<T>& values) {
  DeviceBuffer buffer(values.size() * sizeof(T));
  buffer.copy_from(std::as_bytes(std::span(values)), {});
  return buffer;
}

template <class T>
std::vector<T> from_device(const DeviceBuffer& buffer) {
  std::vector<T> values(buffer.size() / sizeof(T));
  buffer.copy_to(std::as_writable_bytes(std::span(values)), {});
  return values;
}

std::vector<CodecOptions> kernel_cases() {
  std::vector<CodecOptions> cases;
  for (const std::string& name : CudaCodec::names()) {
    for (const Rounding rounding : {Rounding::kNearest, Rounding::kStochastic}) {
      for (const std::size_t block : {8, 24, 256, 8192}) cases.push_back({name, block, rounding});
    }
  }
  return cases;
}

class CudaKernels : public ::testing::TestWithParam<CodecOptions> {
 protected:
  void SetUp() override {
    if (num_devices() == 0) GTEST_SKIP() << "no CUDA device: the kernels are not run here";
  }
  std::unique_ptr<Codec> make_reference() const {
    const ForcedTarget guard(Target::kScalar);
    return make_codec(GetParam());
  }

  const std::unique_ptr<Codec> reference = make_reference();
  const CudaCodec codec{GetParam()};
  const std::size_t block = GetParam().block;
  const std::vector<std::size_t> lengths = {1, 7, 8, block - 1, block + 1, 3 * block + 13, 1'000'003};
};

INSTANTIATE_TEST_SUITE_P(Codecs, CudaKernels, ::testing::ValuesIn(kernel_cases()), testing::case_name);

TEST_P(CudaKernels, EncodeTheBytesOfTheReference) {
  for (const std::size_t n : lengths) {
    for (const std::vector<float>& values : {normal_values(n, n), awkward_values(n, n)}) {
      const DeviceBuffer input = on_device(values), nan_seen = on_device(std::vector<std::uint32_t>{0});
      const DeviceBuffer code = on_device(std::vector<std::byte>(codec.encoded_bytes(n), std::byte{0xa5}));
      codec.encode({.values = input.as<const float>(),
                    .key = 9,
                    .code = code.as<std::byte>(),
                    .nan_seen = nan_seen.as<std::uint32_t>()},
                   {});
      ASSERT_EQ(from_device<std::byte>(code), testing::encode(*reference, values, 9)) << "n " << n;
      ASSERT_EQ(from_device<std::uint32_t>(nan_seen)[0], 0u);
    }
  }
}

TEST_P(CudaKernels, ReportANaN) {
  std::vector<float> values = normal_values(2 * block + 3, 6);
  values.back() = std::nanf("");
  const DeviceBuffer input = on_device(values), nan_seen = on_device(std::vector<std::uint32_t>{0});
  const DeviceBuffer code(codec.encoded_bytes(values.size()));
  codec.encode({.values = input.as<const float>(),
                .code = code.as<std::byte>(),
                .nan_seen = nan_seen.as<std::uint32_t>()},
               {});
  EXPECT_EQ(from_device<std::uint32_t>(nan_seen)[0], 1u);
}

TEST_P(CudaKernels, DecodeTheFloatsOfTheReference) {
  for (const std::size_t n : lengths) {
    const std::vector<std::byte> payload = testing::encode(*reference, awkward_values(n, n + 1));
    const DeviceBuffer code = on_device(payload), values(n * sizeof(float)),
                       sum = on_device(normal_values(n, 3));
    codec.decode(code.as<const std::byte>(), values.as<float>(), {});
    codec.decode_add(code.as<const std::byte>(), sum.as<float>(), {});
    ASSERT_EQ(bits_of(from_device<float>(values)), bits_of(testing::decode(*reference, payload, n)))
        << "n " << n;
    std::vector<float> expected = normal_values(n, 3);
    reference->decode_add(payload, expected);
    ASSERT_EQ(bits_of(from_device<float>(sum)), bits_of(expected)) << "n " << n;
  }
}

TEST_P(CudaKernels, TakeDeltaResidualAndCodeInOneSweep) {
  for (const std::size_t n : lengths) {
    const std::vector<float> agreed = normal_values(n, 1), local = normal_values(n, 2);
    ErrorFeedback feedback(*reference, n, 0.9f);
    std::vector<float> residual = normal_values(n, 3, 0.1f);
    std::copy(residual.begin(), residual.end(), feedback.residual().begin());
    std::vector<float> delta(n);
    outer_delta(agreed, local, delta);
    std::vector<std::byte> expected(reference->encoded_bytes(n));
    feedback.encode(delta, 5, expected);

    const DeviceBuffer g = on_device(agreed), theta = on_device(local), r = on_device(residual);
    const DeviceBuffer code(expected.size());
    codec.encode_delta({.agreed = g.as<const float>(),
                        .local = theta.as<const float>(),
                        .residual = r.as<float>(),
                        .decay = 0.9f,
                        .key = 5,
                        .code = code.as<std::byte>()},
                       {});
    ASSERT_EQ(from_device<std::byte>(code), expected) << "n " << n;
    ASSERT_EQ(bits_of(from_device<float>(r)), bits_of(feedback.residual())) << "n " << n;
  }
}

TEST_P(CudaKernels, CommitAsTheOuterLoopDoes) {
  for (const std::size_t workers : {1, 2, 5}) {
    for (const float alpha : {0.0f, 0.3f}) {
      const std::size_t n = 3 * block + 13;
      std::vector<float> momentum = normal_values(n, 4), agreed = normal_values(n, 5),
                         local = normal_values(n, 6);
      const DeviceBuffer v = on_device(momentum), g = on_device(agreed), theta = on_device(local);
      std::vector<DeviceBuffer> payloads;
      CudaCodec::Commit job{.payloads = {},
                            .rule = {.lr = 0.6f, .momentum = 0.8f},
                            .alpha = alpha,
                            .momentum = v.as<float>(),
                            .agreed = g.as<float>(),
                            .local = theta.as<float>()};
      std::vector<float> mean(n, 0.0f);
      for (std::size_t r = 0; r < workers; ++r) {
        const auto payload = testing::encode(*reference, awkward_values(n, 10 + r), r);
        r == 0 ? reference->decode(payload, mean) : reference->decode_add(payload, mean);
        payloads.push_back(on_device(payload));
        job.payloads.push_back(payloads.back().as<const std::byte>());
      }
      codec.commit(job, {});

      divide_in_place(mean, static_cast<float>(workers));
      nesterov_step(job.rule, mean, momentum, agreed);
      merge_into_local(alpha, agreed, local);
      ASSERT_EQ(bits_of(from_device<float>(v)), bits_of(momentum)) << workers << " workers";
      ASSERT_EQ(bits_of(from_device<float>(g)), bits_of(agreed)) << workers << " workers";
      ASSERT_EQ(bits_of(from_device<float>(theta)), bits_of(local)) << workers << " workers, alpha " << alpha;
    }
  }
}

}  // namespace
}  // namespace thinwire::quant::cuda
