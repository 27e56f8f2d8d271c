#include "trainer/format/safetensors.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <cstring>
#include <random>

#include "tests/trainer/temporary_folder.h"

namespace thinwire::trainer {
namespace {

using test::message_of;
using test::read_bytes;
using test::TemporaryFolder;
using test::write_bytes;
using ::testing::HasSubstr;

std::string file_of(const std::string& header, const std::string& data) {
  std::string bytes;
  for (int shift = 0; shift < 64; shift += 8)
    bytes.push_back(static_cast<char>(header.size() >> shift & 0xff));
  return bytes + header + data;
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() && a.is_contiguous() &&
         b.is_contiguous() &&
         (a.nbytes() == 0 || std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0);
}

at::Tensor random_tensor(at::IntArrayRef shape, at::ScalarType type, std::mt19937& random) {
  at::Tensor tensor = at::empty(shape, type);
  auto* bytes = static_cast<std::uint8_t*>(tensor.data_ptr());
  for (std::size_t i = 0; i < tensor.nbytes(); ++i) bytes[i] = type == at::kBool ? random() & 1 : random();
  return tensor;
}

const std::vector<at::ScalarType> kTypes = {
    at::kDouble, at::kFloat,  at::kHalf,   at::kBFloat16,    at::kLong,
    at::kInt,    at::kShort,  at::kChar,   at::kByte,        at::kBool,
    at::kUInt16, at::kUInt32, at::kUInt64, at::kFloat8_e5m2, at::kFloat8_e4m3fn,
};

TEST(Safetensors, EveryDtypeAndShapeComesBackBitForBitInAlignedMemory) {
  TemporaryFolder folder;
  std::mt19937 random(1);
  SafetensorsFile file;
  file.metadata = {{"format", "pt"}, {"text", "\xc3\xa4 \"quoted\"\n"}};
  const std::vector<std::vector<std::int64_t>> shapes = {{},     {0},       {1},          {7},
                                                         {3, 5}, {2, 0, 4}, {2, 3, 4, 5}, {1031}};
  for (const at::ScalarType type : kTypes) {
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      file.tensors[fmt::format("{}/{}", c10::toString(type), i)] = random_tensor(shapes[i], type, random);
    }
  }
  const FileDigest written = write_safetensors(folder / "a.safetensors", file);
  EXPECT_EQ(written, digest_file(folder / "a.safetensors"));

  const SafetensorsFile back = read_safetensors(folder / "a.safetensors");
  EXPECT_EQ(back.metadata, file.metadata);
  ASSERT_EQ(back.tensors.size(), file.tensors.size());
  for (const auto& [name, tensor] : file.tensors) {
    EXPECT_TRUE(same_bits(back.tensors.at(name), tensor)) << name;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(back.tensors.at(name).const_data_ptr()) % 64, 0u) << name;
  }
}

TEST(Safetensors, ViewsAreWrittenAsTheirValues) {
  TemporaryFolder folder;
  const at::Tensor base = at::arange(12, at::kFloat).reshape({3, 4});
  write_safetensors(folder / "a", {{{"t", base.t()}, {"column", base.select(1, 2)}}, {}});
  const SafetensorsFile back = read_safetensors(folder / "a");
  EXPECT_TRUE(same_bits(back.tensors.at("t"), base.t().contiguous()));
  EXPECT_TRUE(same_bits(back.tensors.at("column"), base.select(1, 2).contiguous()));
}

TEST(Safetensors, BytesAreThoseOfTheFormatsOwnLibrary) {
  TemporaryFolder folder;
  SafetensorsFile file;
  file.metadata = {{"format", "pt"}};
  file.tensors["b"] = at::tensor({1.0f, -2.0f}).reshape({1, 2});
  file.tensors["a"] = at::tensor({1, 2, 3}, at::kByte);
  file.tensors["c"] = at::scalar_tensor(-1, at::kLong);
  write_safetensors(folder / "a", file);
  std::string header =
      R"({"__metadata__":{"format":"pt"},"c":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]},"a":{"dtype":"U8","shape":[3],"data_offsets":[16,19]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::string data(
      "\xff\xff\xff\xff\xff\xff\xff\xff"
      "\x00\x00\x80\x3f\x00\x00\x00\xc0"
      "\x01\x02\x03",
      19);
  EXPECT_EQ(read_bytes(folder / "a"), file_of(header, data));
}

TEST(Safetensors, AFileWithoutTensorsIsLegal) {
  TemporaryFolder folder;
  write_safetensors(folder / "a", {});
  EXPECT_EQ(read_bytes(folder / "a"), file_of("{}      ", ""));
  EXPECT_TRUE(read_safetensors(folder / "a").tensors.empty());
}

TEST(Safetensors, TheHalfwayCallComesOnceWithHalfTheBytesWritten) {
  TemporaryFolder folder;
  const std::string path = folder / "a";
  int calls = 0;
  std::uintmax_t size = 0;
  const FileDigest digest = write_safetensors(path, {{{"a", at::ones(1000)}, {"b", at::ones(3)}}, {}}, [&] {
    ++calls;
    size = std::filesystem::file_size(path);
  });
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(size, digest.bytes / 2);
}

TEST(Safetensors, TensorsThatTheFormatCannotHoldAreRefusedByName) {
  TemporaryFolder folder;
  EXPECT_THAT(message_of([&] {
                write_safetensors(folder / "a", {{{"z", at::ones({2}, at::kComplexFloat)}}, {}});
              }),
              HasSubstr("'z'"));
  EXPECT_THAT(message_of([&] {
                write_safetensors(folder / "a", {{{"__metadata__", at::ones(1)}}, {}});
              }),
              HasSubstr("__metadata__"));
  EXPECT_THAT(message_of([&] {
                write_safetensors(folder / "a", {{{"\xff", at::ones(1)}}, {}});
              }),
              HasSubstr("UTF-8"));
  EXPECT_FALSE(std::filesystem::exists(folder / "a"));
}

TEST(Safetensors, AFileCutAtAnyByteOrLongerByOneIsRefusedByName) {
  TemporaryFolder folder;
  const std::string path = folder / "cut.safetensors";
  write_safetensors(path, {{{"a", at::ones(3)}, {"b", at::ones(2, at::kBFloat16)}}, {{"k", "v"}}});
  const std::string whole = read_bytes(path);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    write_bytes(path, whole.substr(0, n));
    EXPECT_THAT(message_of([&] { read_safetensors(path); }), HasSubstr(path)) << "cut at " << n;
  }
  write_bytes(path, whole + std::string(1, '\0'));
  EXPECT_THAT(message_of([&] { read_safetensors(path); }), HasSubstr("expected 16 bytes of data"));
}

TEST(Safetensors, ALengthBeyondTheLimitIsRefusedBeforeAnyMemoryIsTaken) {
  TemporaryFolder folder;
  write_bytes(folder / "a", std::string(8, '\xff') + "{}");
  EXPECT_THAT(message_of([&] { read_safetensors(folder / "a"); }), HasSubstr("18446744073709551615"));
  // A sparse file that really is that long.
  write_bytes(folder / "b", std::string("\x01\x00\x00\x01\x00\x00\x00\x00{}", 10));
  std::filesystem::resize_file(folder / "b", 8 + kMaxSafetensorsHeaderBytes + 100);
  EXPECT_THAT(message_of([&] { read_safetensors(folder / "b"); }), HasSubstr("16777217"));
}

TEST(Safetensors, BooleansOtherThanZeroAndOneAreRefused) {
  TemporaryFolder folder;
  write_bytes(folder / "a", file_of(R"({"mask":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}})",
                                    std::string("\x00\x01\x02", 3)));
  EXPECT_THAT(message_of([&] { read_safetensors(folder / "a"); }),
              HasSubstr("tensor 'mask': expected booleans 0 or 1, found 2 at index 2"));
}

TEST(Safetensors, WhatIsNoRegularFileIsRefusedWithoutWaiting) {
  TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(message_of([&] { read_safetensors(folder / "pipe"); }),
              HasSubstr("not a plain file but a named pipe"));
  EXPECT_THAT(message_of([&] { read_safetensors(folder.path()); }),
              HasSubstr("not a plain file but a folder"));
  EXPECT_THAT(message_of([&] { read_safetensors(folder / "none"); }), HasSubstr("No such file"));
}

TEST(Safetensors, ALinkIsReplacedNotWrittenThrough) {
  TemporaryFolder folder;
  write_bytes(folder / "target", "precious");
  std::filesystem::create_symlink(folder / "target", folder / "link");
  write_safetensors(folder / "link", {{{"a", at::ones(1)}}, {}});
  EXPECT_EQ(read_bytes(folder / "target"), "precious");
  EXPECT_EQ(read_safetensors(folder / "link").tensors.size(), 1u);
}

// Changed bytes in a file: refused, or read without a crash.
TEST(Safetensors, NoFileCrashesTheReader) {
  TemporaryFolder folder;
  const std::string path = folder / "a";
  write_safetensors(path, {{{"a", at::ones(3)}, {"b", at::ones(2, at::kBool)}}, {{"k", "v"}}});
  const std::string whole = read_bytes(path);
  std::mt19937 random(7);
  int accepted = 0;
  for (int round = 0; round < 500; ++round) {
    std::string bytes = whole;
    for (std::size_t flips = 1 + random() % 3; flips > 0; --flips) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    write_bytes(path, bytes);
    try {
      read_safetensors(path);
      ++accepted;
    } catch (const std::runtime_error&) {
    }
  }
  EXPECT_GT(accepted, 0);
}

}  // namespace
}  // namespace thinwire::trainer
