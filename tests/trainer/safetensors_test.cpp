#include "trainer/format/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <torch/torch.h>

#include <algorithm>
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

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape, int begin,
                  int end) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})", name, dtype, shape, begin,
                     end);
}

std::string object(const std::vector<std::string>& entries) {
  return fmt::format("{{{}}}", fmt::join(entries, ","));
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

struct Refusal {
  std::string header;
  std::size_t data_bytes;
  std::string message;
};

TEST(Safetensors, EveryMalformedHeaderIsRefusedForItsReason) {
  const std::string f32x2 = entry("a", "F32", "[2]", 0, 8);
  const std::vector<Refusal> refusals = {
      {"", 0, "expected '{'"},
      {" {}", 0, "expected '{'"},
      {"[]", 0, "expected '{'"},
      {"{", 0, "not JSON"},
      {"{}x", 0, "not JSON"},
      {"{\"\xff\":1}", 0, "not JSON"},
      {"{}", 1, "expected 0 bytes of data, as the tensors take, found 1"},
      {object({f32x2}), 9, "expected 8 bytes of data, as the tensors take, found 9"},
      {object({f32x2}), 7, "expected 8 bytes of data, as the tensors take, found 7"},
      {object({f32x2, f32x2}), 8, "'a' stands twice"},
      {R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8, "'dtype' stands twice"},
      {object({f32x2, entry("b", "F32", "[1]", 4, 8)}), 8, "tensor 'b' begins at byte 4"},
      {object({f32x2, entry("b", "F32", "[2]", 0, 8)}), 8, "overlaps"},
      {object({f32x2, entry("b", "F32", "[1]", 12, 16)}), 16, "bytes 8 to 12"},
      {object({entry("a", "F32", "[2]", 4, 12)}), 12, "bytes 0 to 4"},
      {object({entry("a", "F32", "[2]", 8, 0)}), 8, "expected 8 bytes from its shape"},
      {object({entry("a", "F32", "[3]", 0, 8)}), 8, "expected 12 bytes from its shape"},
      {object({entry("a", "F33", "[2]", 0, 8)}), 8, "unknown dtype 'F33'"},
      {object({entry("a", "U8", "[-8]", 0, 8)}), 8, "found -8"},
      {object({entry("a", "U8", "[8.0]", 0, 8)}), 8, "found 8.0"},
      {object({entry("a", "U8", "[\"8\"]", 0, 8)}), 8, "found string"},
      {object({entry("a", "U8", "[18446744073709551615]", 0, 8)}), 8, "2^63-1"},
      {object({entry("a", "U8", "8", 0, 8)}), 8, "expected a list"},
      {object({entry("a", "F32", "[4611686018427387904,4]", 0, 0)}), 0, "overflows"},
      {object({entry("a", "F32", "[4611686018427387904,4,0]", 0, 0)}), 0, "overflows"},
      {object({entry("a", "F32", "[0,4294967296,4294967296]", 0, 0)}), 0, "overflows"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}})", 1, "two data_offsets"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}})", 1, "two data_offsets"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1e0]}})", 1, "data_offsets"},
      {R"({"a":{"dtype":"U8","shape":[1]}})", 1, "nothing else"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}})", 1, "nothing else"},
      {R"({"a":{"dtype":8,"shape":[1],"data_offsets":[0,1]}})", 1, "string as dtype"},
      {R"({"a":[]})", 0, "expected an object"},
      {R"({"__metadata__":[]})", 0, "object as __metadata__"},
      {R"({"__metadata__":{"a":1}})", 0, "expected a string under 'a'"},
      {R"({"a":[[[[[[[[[[]]]]]]]]]]})", 0, "deeper"},
  };
  for (const Refusal& refusal : refusals) {
    EXPECT_THAT(message_of([&] { parse_safetensors_header(refusal.header, refusal.data_bytes); }),
                HasSubstr(refusal.message))
        << refusal.header;
  }
}

TEST(Safetensors, TooManyDimensionsAreRefused) {
  std::string shape = "[1";
  for (std::size_t i = 0; i < kMaxSafetensorsDimensions; ++i) shape += ",1";
  EXPECT_THAT(message_of([&] { parse_safetensors_header(object({entry("a", "U8", shape + "]", 0, 1)}), 1); }),
              HasSubstr("at most 64 dimensions, found 65"));
}

TEST(Safetensors, EmptyTensorsMayStandAnywhereInTheData) {
  const std::string header = object(
      {entry("z", "F32", "[0]", 8, 8), entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[2,0]", 0, 0)});
  EXPECT_EQ(parse_safetensors_header(header, 8).entries.size(), 3u);
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
  write_bytes(folder / "a",
              file_of(object({entry("mask", "BOOL", "[3]", 0, 3)}), std::string("\x00\x01\x02", 3)));
  EXPECT_THAT(message_of([&] { read_safetensors(folder / "a"); }),
              HasSubstr("tensor 'mask': expected booleans 0 or 1, found 2 at index 2"));
}

TEST(Safetensors, WhatIsNoRegularFileIsRefusedWithoutWaiting) {
  TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(message_of([&] { read_safetensors(folder / "pipe"); }), HasSubstr("expected a regular file"));
  EXPECT_THAT(message_of([&] { read_safetensors(folder.path()); }), HasSubstr("expected a regular file"));
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

// Changed and random bytes: any answer is fine but a crash, and whatever is accepted must be whole.
TEST(Safetensors, NoBytesCrashTheReader) {
  TemporaryFolder folder;
  const std::string path = folder / "a";
  write_safetensors(path, {{{"a", at::ones(3)}, {"b", at::ones(2, at::kBool)}}, {{"k", "v"}}});
  const std::string whole = read_bytes(path);
  std::mt19937 random(7);
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = whole;
    for (int flips = 1 + random() % 3; flips > 0; --flips)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    if (random() % 4 == 0) bytes.resize(random() % bytes.size());
    if (bytes.size() < 8) continue;
    std::uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, bytes.data(), 8);
    header_bytes = std::min<std::uint64_t>(header_bytes, bytes.size() - 8);
    try {
      const auto header = parse_safetensors_header(std::string_view(bytes).substr(8, header_bytes),
                                                   bytes.size() - 8 - header_bytes);
      std::uint64_t sum = 0;
      for (const SafetensorsEntry& e : header.entries) sum += e.end - e.begin;
      EXPECT_EQ(sum, header.data_bytes) << "round " << round;
      ++accepted;
    } catch (const std::runtime_error&) {
    }
  }
  EXPECT_GT(accepted, 0);
}

}  // namespace
}  // namespace thinwire::trainer
