#include "trainer/format/safetensors_header.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>

#include <random>
#include <utility>

#include "tests/trainer/temporary_folder.h"

namespace thinwire::trainer {
namespace {

using test::message_of;
using ::testing::HasSubstr;

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape, int begin,
                  int end) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})", name, dtype, shape, begin,
                     end);
}

std::string object(const std::vector<std::string>& entries) {
  return fmt::format("{{{}}}", fmt::join(entries, ","));
}

struct Refusal {
  std::string header;
  std::size_t data_bytes;
  std::string message;
};

TEST(SafetensorsHeader, EveryMalformedHeaderIsRefusedForItsReason) {
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

TEST(SafetensorsHeader, TooManyDimensionsAreRefused) {
  std::string shape = "[1";
  for (std::size_t i = 0; i < kMaxSafetensorsDimensions; ++i) shape += ",1";
  EXPECT_THAT(message_of([&] { parse_safetensors_header(object({entry("a", "U8", shape + "]", 0, 1)}), 1); }),
              HasSubstr("at most 64 dimensions, found 65"));
}

TEST(SafetensorsHeader, EmptyTensorsMayStandAnywhereInTheData) {
  const std::string header = object(
      {entry("z", "F32", "[0]", 8, 8), entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[2,0]", 0, 0)});
  EXPECT_EQ(parse_safetensors_header(header, 8).entries.size(), 3u);
}

TEST(SafetensorsHeader, ALayoutIsReadBackAsItWasMade) {
  SafetensorsHeader header;
  header.metadata = {{"format", "pt"}};
  header.entries = {{"b", "BOOL", {3}, 0, 0}, {"a", "F32", {2, 2}, 0, 0}, {"\"quoted\"", "F32", {}, 0, 0}};
  const std::string bytes = layout_safetensors(header);
  EXPECT_EQ(bytes.size() % 8, 0u);
  const SafetensorsHeader back = parse_safetensors_header(bytes.substr(8), header.data_bytes);
  EXPECT_EQ(back.metadata, header.metadata);
  ASSERT_EQ(back.entries.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(back.entries[i].name, header.entries[i].name);
    EXPECT_EQ(back.entries[i].dtype, header.entries[i].dtype);
    EXPECT_EQ(back.entries[i].shape, header.entries[i].shape);
    EXPECT_EQ(back.entries[i].begin, header.entries[i].begin);
  }
}

TEST(SafetensorsHeader, ALayoutThatNoReaderWouldTakeIsRefused) {
  const auto message = [](std::vector<SafetensorsEntry> entries) {
    SafetensorsHeader header{std::move(entries), {}, 0};
    return message_of([&] { layout_safetensors(header); });
  };
  EXPECT_THAT(message({{"a", "F32", {1}, 0, 0}, {"a", "F32", {1}, 0, 0}}),
              HasSubstr("two tensors are named 'a'"));
  EXPECT_THAT(message({{"a", "C64", {1}, 0, 0}}), HasSubstr("unknown dtype 'C64'"));
  EXPECT_THAT(message({{std::string(kMaxSafetensorsHeaderBytes, 'x'), "F32", {1}, 0, 0}}),
              HasSubstr("expected a header of at most 16777216 bytes"));
}

// Any answer is fine but a crash, and whatever is accepted covers the data once.
TEST(SafetensorsHeader, NoTextCrashesTheParser) {
  const std::string good = object(
      {R"("__metadata__":{"k":"v"})", entry("a", "F32", "[2,3]", 0, 24), entry("b", "BOOL", "[2]", 24, 26)});
  const std::string alphabet = "{}[]\",:0129-.eE \\utfnabFIU3\xff";
  std::mt19937 random(7);
  int accepted = 0;
  for (int round = 0; round < 50000; ++round) {
    std::string text = good;
    for (std::size_t changes = 1 + random() % 3; changes > 0; --changes) {
      const std::size_t at = random() % text.size();
      if (random() % 2 == 0) {
        text[at] = alphabet[random() % alphabet.size()];
      } else {
        text.erase(at, 1 + random() % 2);
      }
    }
    try {
      const SafetensorsHeader header = parse_safetensors_header(text, 26);
      std::uint64_t covered = 0;
      for (const SafetensorsEntry& e : header.entries) {
        EXPECT_EQ(e.begin, covered) << text;
        covered = e.end;
      }
      EXPECT_EQ(covered, 26u) << text;
      ++accepted;
    } catch (const std::runtime_error&) {
    }
  }
  EXPECT_GT(accepted, 0);
}

}  // namespace
}  // namespace thinwire::trainer
