// What CudaCodec refuses, and what it says where there is no device. No kernel runs here.
#include "quant/kernel/cuda/cuda_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace thinwire::quant::cuda {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// Addresses that are never read: every call is refused before.
template <class T>
DeviceSpan<T> fake_span(std::size_t size, std::uintptr_t address = 4096) {
  return {reinterpret_cast<T*>(address), size};
}

template <class Call>
void expect_refusal(Call call, const char* part) {
  EXPECT_THAT(call, ThrowsMessage<std::invalid_argument>(HasSubstr(part)));
}

TEST(CudaCodec, NamesTheFormatsThatHaveKernels) {
  expect_refusal([] { CudaCodec({.name = "nf4"}); },
                 "codec 'nf4' has no CUDA kernels; those that have: int8 int4 int2 e3m0 sign");
  expect_refusal([] { CudaCodec({.name = "int8", .block = 7}); }, "multiple of 8");
  expect_refusal([] { CudaCodec({.name = "int8", .rotate = true}); }, "rotate");
  for (const std::string& name : CudaCodec::names()) {
    EXPECT_EQ(CudaCodec({.name = name}).encoded_bytes(1000), make_codec({.name = name})->encoded_bytes(1000));
  }
}

TEST(CudaCodec, RefusesSpansOfTheWrongLengthOrPlace) {
  const CudaCodec codec({.name = "int4"});
  const std::size_t bytes = codec.encoded_bytes(100);
  expect_refusal(
      [&] {
        codec.encode({.values = fake_span<const float>(100), .code = fake_span<std::byte>(bytes - 1)}, {});
      },
      "encode: expected a payload of 54 elements, got 53");
  expect_refusal([&] { codec.decode(fake_span<const std::byte>(bytes, 4098), fake_span<float>(100), {}); },
                 "decode: expected a payload on a multiple of 4 bytes");
  expect_refusal([&] { codec.decode_add(fake_span<const std::byte>(bytes), fake_span<float>(200), {}); },
                 "decode_add: expected a payload of");
  expect_refusal(
      [&] {
        codec.encode({.values = fake_span<const float>(100),
                      .code = fake_span<std::byte>(bytes),
                      .nan_seen = fake_span<std::uint32_t>(2)},
                     {});
      },
      "expected nan_seen of 1 elements, got 2");
}

TEST(CudaCodec, RefusesADeltaThatDoesNotFit) {
  const CudaCodec codec({.name = "e3m0"});
  CudaCodec::DeltaEncode job{.agreed = fake_span<const float>(100),
                             .local = fake_span<const float>(99),
                             .code = fake_span<std::byte>(codec.encoded_bytes(100))};
  expect_refusal([&] { codec.encode_delta(job, {}); },
                 "encode_delta: expected local of 100 elements, got 99");
  job.local.size = 100;
  job.residual = fake_span<float>(101);
  expect_refusal([&] { codec.encode_delta(job, {}); }, "expected residual of 100 elements, got 101");
  job.residual.size = 100;
  job.decay = 1.5f;
  expect_refusal([&] { codec.encode_delta(job, {}); }, "decay must lie in [0, 1]");
}

TEST(CudaCodec, RefusesACommitThatDoesNotFit) {
  const CudaCodec codec({.name = "sign"});
  CudaCodec::Commit job{.payloads = {},
                        .momentum = fake_span<float>(100),
                        .agreed = fake_span<float>(100),
                        .local = fake_span<float>(100)};
  const auto payload = fake_span<const std::byte>(codec.encoded_bytes(100));
  expect_refusal([&] { codec.commit(job, {}); }, "commit: expected 1 to 64 payloads, got 0");
  job.payloads.assign(65, payload);
  expect_refusal([&] { codec.commit(job, {}); }, "commit: expected 1 to 64 payloads, got 65");
  job.payloads = {payload, fake_span<const std::byte>(1)};
  expect_refusal([&] { codec.commit(job, {}); }, "commit: expected a payload of 17 elements, got 1");
  job.payloads = {payload};
  job.momentum.size = 99;
  expect_refusal([&] { codec.commit(job, {}); }, "commit: expected momentum of 100 elements, got 99");
}

TEST(CudaCodec, TakesNoValuesForNoWork) {
  const CudaCodec codec({.name = "int8"});
  EXPECT_NO_THROW(codec.encode({}, {}));
  EXPECT_NO_THROW(codec.decode({}, {}, {}));
}

TEST(CudaDevice, SaysWhatIsMissingWhereThereIsNone) {
  if (num_devices() > 0) GTEST_SKIP() << "this machine has a CUDA device";
  const auto advice = ::testing::AnyOf(HasSubstr("nvidia-smi"), HasSubstr("install the CUDA toolkit"));
  EXPECT_THAT([] { DeviceBuffer(16); }, ThrowsMessage<CudaError>(advice));
  EXPECT_THAT([] { use_device(0); }, ThrowsMessage<CudaError>(advice));
  EXPECT_THAT([] { synchronize({}); }, ThrowsMessage<CudaError>(advice));
  const CudaCodec codec({.name = "int8"});
  EXPECT_THAT(
      [&] { codec.decode(fake_span<const std::byte>(codec.encoded_bytes(9)), fake_span<float>(9), {}); },
      ThrowsMessage<CudaError>(advice));
}

}  // namespace
}  // namespace thinwire::quant::cuda
