"""Names that people give to columns, as `ernie.reader.columns.bare` has them: lower case, letters and digits only."""

_TEXTS = """
text texts texta text1 sentence sentences sentencea sentence1 sent sent1 s1 review reviews reviewtext reviewbody
reviewcontent document documents doc content contents comment comments commenttext commentcontent body message
messages msg question question1 questiontext q1 premise query query1 title headline headlines newstitle utterance
utterances tweet tweettext post snippet phrase paragraph passage article abstract summary description input inputs
inputtext sms email feedback complaint request command prompt instruction caption statement claim quote transcript
文本 文本1 内容 句子 句子1 评论 评论内容 评价 评价内容 标题 正文 文章 新闻 新闻标题 问题 问题1 问句 摘要 描述
留言 消息 语句 原文 微博 微博内容 微博正文 弹幕 对话 文字 中文 评语 反馈
문장 텍스트 리뷰 내용 본문 제목 댓글 질문 발화 テキスト 本文 レビュー 質問
"""
_LABELS = """
label labels labelname goldlabel target targets class classes classname classlabel category categories cat
sentiment sentimentlabel rating ratings reviewrating star stars score scores intent intents intention emotion
emotions polarity topic topics tag tags gold y annotation annotations verdict isduplicate isspam spam similarity
relatednessscore entailmentlabel entailmentjudgment overall quality classindex classid
标签 标注 类别 分类 类型 类 情感 情感标签 情感倾向 情绪 意图 评分 星级 打分 主题 倾向 相似度
라벨 레이블 감정 감성 분류 카테고리 평점 의도 ラベル カテゴリ 感情 評価
"""
# First text / second text: a second one is found where the first is of the same pair only.
_PAIRS = """
texta/textb text1/text2 text/text2 text/textb sentencea/sentenceb sentence1/sentence2 sentence/sentence2
sent1/sent2 s1/s2 q1/q2 question1/question2 query1/query2 premise/hypothesis question/answer question/passage
question/sentence 1string/2string question/context query/passage query/answer query/document query/doc
query/title query/response query/text context/response prompt/response utterance/response message/response
claim/evidence 文本1/文本2 句子1/句子2 问题1/问题2 问题/答案 问题/回答 前提/假设 문장1/문장2 질문/답변 質問/回答
"""
_TOKENS = 'tokens words token word tokenlist wordlist chars characters 词 词语 字 토큰 単語'
_TAGS = 'nertags tags labels label ner nerlabels taglabels bio biotags iob iobtags tagnames 标签 标注 태그'
_QUESTIONS = 'question questions query q questiontext 问题 问句 질문 質問'
_CONTEXTS = 'context contexts passage paragraph document doc text article story 文章 上下文 原文 段落 문맥 지문 文脈'
_ANSWERS = 'answers answer answertext goldanswer shortanswer 答案 回答 답변 정답 答え'
TEXTS = frozenset(_TEXTS.split())
LABELS = frozenset(_LABELS.split())
TOKENS, TAGS = frozenset(_TOKENS.split()), frozenset(_TAGS.split())
QUESTIONS, CONTEXTS, ANSWERS = (frozenset(words.split()) for words in (_QUESTIONS, _CONTEXTS, _ANSWERS))
PAIRS = frozenset(tuple(pair.split('/')) for pair in _PAIRS.split())
