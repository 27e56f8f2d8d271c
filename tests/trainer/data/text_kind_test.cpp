#include "trainer/data/text_kind.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace thinwire::test {
namespace {

using namespace std::string_view_literals;
using testing::HasSubstr;
using trainer::binary_format;
using trainer::TextKind;

// The same whatever the pieces are.
TextKind kind_of(std::string_view text, std::size_t piece) {
  TextKind kind;
  for (; !text.empty(); text.remove_prefix(std::min(piece, text.size()))) kind.add(text.substr(0, piece));
  return kind;
}

TEST(TextKind, FindsNothingWrongWithUtf8) {
  const std::string plain(1000, 'x');
  for (const std::size_t piece : {1u, 2u, 3u, 7u, 5000u}) {
    for (const std::string_view text :
         {""sv, "plain\t\r\n"sv, std::string_view(plain), "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"sv,
          "\xef\xbb\xbfmarked"sv, "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf"sv}) {
      EXPECT_EQ(kind_of(text, piece).problem(), "") << text;
      EXPECT_TRUE(kind_of(text, piece).may_be_text());
    }
  }
}

TEST(TextKind, SaysWhereTextIsNotUtf8) {
  const std::string start(100, 'x');
  for (const std::size_t piece : {1u, 2u, 3u, 64u, 5000u}) {
    for (const std::string_view odd : {"\xe9t\xe9"sv, "\xc0\xaf"sv, "\xed\xa0\x80"sv, "\xf4\x90\x80\x80"sv,
                                       "\xe2\x82"sv, "\xe2\x82x"sv, "\x80"sv, "\xff"sv}) {
      const TextKind kind = kind_of(start + std::string(odd), piece);
      EXPECT_THAT(kind.problem(), HasSubstr("not UTF-8 from byte 100 on")) << testing::PrintToString(odd);
      EXPECT_TRUE(kind.may_be_text());
    }
  }
}

TEST(TextKind, NamesMarkedEncodings) {
  for (const std::size_t piece : {1u, 3u, 100u}) {
    EXPECT_THAT(kind_of("\xff\xfeh\0i\0"sv, piece).problem(), HasSubstr("iconv -f UTF-16"));
    EXPECT_THAT(kind_of("\xfe\xff\0h\0i"sv, piece).problem(), HasSubstr("is UTF-16 by the mark at byte 0"));
    EXPECT_THAT(kind_of("\xff\xfe\0\0h\0\0\0"sv, piece).problem(), HasSubstr("is UTF-32"));
    EXPECT_FALSE(kind_of("\xff\xfe\x2d\x4e"sv, piece).may_be_text()) << "UTF-16 without a NUL";
  }
}

TEST(TextKind, FindsTheFirstNul) {
  for (const std::size_t piece : {1u, 3u, 100u}) {
    const TextKind kind = kind_of("h\0e\0l\0"sv, piece);
    EXPECT_THAT(kind.problem(), HasSubstr("a NUL at byte 1"));
    EXPECT_FALSE(kind.may_be_text());
    EXPECT_FALSE(kind_of("\xff and then\0"sv, piece).may_be_text()) << "after what is not UTF-8";
  }
}

TEST(BinaryFormat, KnowsFilesByTheirFirstBytes) {
  EXPECT_EQ(binary_format("\x1f\x8b\x08\0\0"sv), "a gzip archive");
  EXPECT_EQ(binary_format("\x89PNG\r\n\x1a\n\0\0"sv), "a PNG picture");
  EXPECT_EQ(binary_format("\xff\xd8\xff\xe0"sv), "a JPEG picture");
  EXPECT_EQ(binary_format("RIFF\0\0\0\0WEBPVP8 "sv), "a WebP picture");
  EXPECT_EQ(binary_format("%PDF-1.4\n"sv), "a PDF document");
  EXPECT_EQ(binary_format("\x10\0\0\0\0\0\0\0{\"a\":1}"sv), "a safetensors model");
  EXPECT_EQ(binary_format("\x7f"
                          "ELF\2\1\1\0"sv),
            "a program");
}

TEST(BinaryFormat, TakesTextForText) {
  EXPECT_EQ(binary_format(""), "");
  EXPECT_EQ(binary_format("GGUF is a format."), "");
  EXPECT_EQ(binary_format("PAR1 and half a character \xe2\x82"), "");
  EXPECT_EQ(binary_format("caf\xe9 of Latin-1"), "");
}

}  // namespace
}  // namespace thinwire::test
